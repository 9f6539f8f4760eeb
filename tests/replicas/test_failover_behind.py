"""A standby that lacks the last moments is promoted: what docs/postgresql.md says to do then."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor import event_log
from monitor.database import Database
from monitor.event_log import Cursor
from tests import wait
from tests.monitor.restore_support import Stage, stage
from tests.monitor.web_support import FeedReader
from tests.postgres_pair import PostgresPair

RUNS = 8


@pytest.fixture
def pair() -> Iterator[PostgresPair]:
    pair = PostgresPair(synchronous=False)
    try:
        yield pair.start()
    finally:
        pair.stop()


def test_nothing_is_lost_or_told_twice(pair: PostgresPair, tmp_path: Path) -> None:
    with stage(tmp_path, pair.create()) as on:
        on.monitor.start()
        end_runs(on)
        pair.fall_behind()
        known = log_of(on)
        end_runs(on)
        before = log_of(on)
        pair.kill()
        pair.standby.promote()
        assert log_of(on) == known
        on.monitor.stop()
        said = on.windsock("restore", "--by-hand")
        assert "are not sent again" in said
        on.monitor.start()
        end_runs(on)
        on.check()
        assert log_of(on).last_seq > before.last_seq  # so the cursor's number alone would lead into it
        cursor = Cursor(before.epoch, before.last_seq)
        with FeedReader(on.monitor.url, f"/events?after={cursor}") as reader:
            wait.until(lambda: any(one.event == "reset" for one in reader.messages), "the reset")


def end_runs(on: Stage) -> None:
    for _ in range(RUNS):
        on.end_run()
    on.wait_until_through()


def log_of(on: Stage) -> event_log.LogState:
    database = Database(on.monitor.env["WINDSOCK_DATABASE_URL"])
    try:
        return database.read_now(event_log.state)
    finally:
        database.close()
