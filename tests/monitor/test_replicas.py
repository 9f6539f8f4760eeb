"""Several monitors on one PostgreSQL: what one commits wakes the others, and who has which turn."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from monitor.replicas import holders
from monitor.settings import Settings
from tests import wait
from tests.monitor.web_support import FeedReader, Served
from tests.sample import run_event

WORKS = {"retention", "reminders", "watches"}
Begin = Callable[[str], Served]


@pytest.fixture
def begin(settings: Settings, postgres_url: str, tmp_path: Path) -> Iterator[Begin]:
    """Starts a replica with a home of this name. It is stopped in the end, or before."""
    with ExitStack() as stack:

        def start(name: str) -> Served:
            own = settings.model_copy(update={"database_url": postgres_url, "home": tmp_path / name})
            monitor = Served(own)
            monitor.start()
            stack.callback(stop, monitor)
            return monitor

        yield start


def stop(monitor: Served) -> None:
    if not monitor.client.is_closed:
        monitor.stop()


def has_all(monitor: Served) -> bool:
    return turns(monitor) == WORKS


def turns(monitor: Served) -> set[str]:
    """What this replica has, as its metrics tell."""
    return {work for work in WORKS if sample(monitor, "windsock_turn", work=work)}


def sample(monitor: Served, name: str, **labels: str) -> float:
    return monitor.app.state.services.metrics.registry.get_sample_value(name, labels) or 0


def test_what_one_commits_wakes_the_other(begin: Begin) -> None:
    one, other = begin("one"), begin("other")
    with FeedReader(other.url) as reader:
        one.post([run_event("running")])
        reader.wait_for(1)
    assert sample(other, "windsock_signals_heard_total", word="feed") >= 1


def test_a_replica_that_stops_gives_its_turns_back(begin: Begin) -> None:
    one = begin("one")
    wait.until(lambda: has_all(one), "the first to have every turn")
    other = begin("other")
    assert turns(other) == set()
    stop(one)
    wait.until(lambda: has_all(other), "the turns to move")
    database = other.app.state.services.database
    assert database.read_now(lambda connection: holders(connection, list(WORKS))).keys() == WORKS
