"""PostgreSQL that restarts, or ends connections, under load: nothing is lost or doubled, nobody gives up."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monitor.event_log import read
from monitor.notifications.outbox import queries
from monitor.notifications.outbox.records import State
from monitor.settings import Settings
from tests import wait
from tests.postgres_server import PostgresServer
from tests.sample import run_event
from tests.unit.replicas_support import MAILED, WORKS, Load, Replica, replicas
from tests.unit.web_support import FeedReader

pytestmark = pytest.mark.slow

CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'windsock %'"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One that may be restarted: of these tests alone."""
    server = PostgresServer().start()
    yield server
    server.stop()


def restart(server: PostgresServer, monitors: list[Replica]) -> None:
    server.go_down()
    answer = monitors[0].client.get("/api/v1/runs")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert monitors[0].post([run_event("success", MAILED, "nobody")]).status_code == 503
    server.come_up()


def cut(server: PostgresServer, monitors: list[Replica]) -> None:
    for _ in range(5):
        server.query(CUT)


@pytest.mark.parametrize("trouble", [restart, cut])
def test_nothing_is_lost_or_doubled(
    trouble: Callable[[PostgresServer, list[Replica]], None],
    server: PostgresServer,
    settings: Settings,
    tmp_path: Path,
) -> None:
    with replicas(settings, server.create(), tmp_path, 2) as both:
        with FeedReader(both[0].url) as feed, FeedReader(both[1].url) as other, Load(both) as load:
            load.more(20)
            trouble(server, both)
            load.more(20)
            load.__exit__()
            for reader in (feed, other):
                assert [event["id"] for event in reader.wait_for(len(load.taken))] == logged(both[0])
                assert not reader.ended.is_set()
        assert load.wrong == []
        assert sorted(load.taken) == sorted(logged(both[0]))
        wait.until(lambda: len(mails(both)) >= len(load.taken), "every mail", 60)
        assert len(set(mails(both))) == len(mails(both)) == len(load.taken)
        assert states(both[0]) == {State.SENT}
        assert [each.fatal for each in both] == [[], []]
        assert [each.sample("windsock_database_rollbacks_detected_total") for each in both] == [0, 0]
        wait.until(lambda: both[0].turns | both[1].turns == WORKS, "the turns to be taken again")
        assert both[0].turns & both[1].turns == set()


def logged(monitor: Replica) -> list[str]:
    """The log's ids, in its order."""
    database = monitor.app.state.services.database
    page = database.read_now(lambda connection: read.read_after(connection, 0, 10_000))
    return [json.loads(event.body)["id"] for event in page.events]


def states(monitor: Replica) -> set[State]:
    """Of the deliveries that there are."""
    found = monitor.app.state.services.database.read_now(queries.counts)
    return {state for state, number in found.items() if number}


def mails(monitors: list[Replica]) -> list[str]:
    return [mail for monitor in monitors for mail in monitor.mails()]
