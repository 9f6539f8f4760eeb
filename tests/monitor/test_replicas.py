"""Several monitors on one PostgreSQL: what one commits wakes the others, and who has which turn."""

from pathlib import Path

from monitor.replicas import holders
from monitor.settings import Settings
from tests import wait
from tests.monitor.replicas_support import WORKS, replicas
from tests.monitor.web_support import FeedReader
from tests.sample import run_event


def test_what_one_commits_wakes_the_other(settings: Settings, postgres_url: str, tmp_path: Path) -> None:
    with (
        replicas(settings, postgres_url, tmp_path, 2) as (one, other),
        FeedReader(other.url) as reader,
    ):
        one.post([run_event("running")])
        reader.wait_for(1)
        assert other.sample("windsock_signals_heard_total", word="feed") >= 1


def test_a_replica_that_stops_gives_its_turns_back(
    settings: Settings, postgres_url: str, tmp_path: Path
) -> None:
    with replicas(settings, postgres_url, tmp_path, 2) as (one, other):
        assert other.turns == set()
        one.stop()
        wait.until(lambda: other.turns == WORKS, "the turns to move")
        database = other.app.state.services.database
        assert database.read_now(lambda connection: holders(connection, list(WORKS))).keys() == WORKS
