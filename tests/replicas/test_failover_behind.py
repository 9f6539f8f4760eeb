"""A standby that lacks the last moments is promoted under two monitors, and nobody says so: what they told in
those moments is not told again, what is lacking is told, and feeds learn that it is another log."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from monitor.database.engine import Database
from monitor.event_log import cursor
from monitor.event_log.cursor import Cursor, LogState
from tests import wait
from tests.monitor_process import MonitorProcess
from tests.postgres_pair import PostgresPair
from tests.unit.restore_support import Stage, stage
from tests.unit.web_support import FeedReader

RUNS = 40
BACK_SECONDS = 60.0
LATER_SECONDS = 6.0  # from one monitor that finds the new primary to the next: docs/postgresql.md
ITS_OWN = ("WINDSOCK_HOME", "WINDSOCK_PORT")
WENT_BACK = "windsock_database_rollbacks_detected_total"


@pytest.fixture
def pair() -> Iterator[PostgresPair]:
    pair = PostgresPair(synchronous=False)
    try:
        yield pair.start()
    finally:
        pair.stop()


def test_nothing_is_lost_or_told_twice(pair: PostgresPair, tmp_path: Path) -> None:
    with ExitStack() as ends:
        on = ends.enter_context(stage(tmp_path, pair.create()))
        on.monitor.start()
        other = second(on, tmp_path)
        ends.callback(other.kill)
        end_runs(on)
        pair.fall_behind()
        known = log_of(on)
        end_runs(on)
        before = log_of(on)
        feed = ends.enter_context(FeedReader(other.url))
        mails = len(on.mail.mails)
        assert 0 < mails_of(other) < mails  # both send
        assert mails == mails_of(on.monitor) + mails_of(other)

        pair.kill()
        with stopped(other):
            pair.standby.promote()
            assert log_of(on).last_seq == known.last_seq
            wait.until(on.monitor.is_ready, "the first to be ready", BACK_SECONDS)
            end = time.monotonic() + LATER_SECONDS
            wait.until(lambda: time.monotonic() > end, "the time by which the second is later")
        wait.until(other.is_ready, "the second to be ready", BACK_SECONDS)
        assert log_of(on).epoch != known.epoch
        end_runs(on)

        assert len(on.mail.mails) > mails
        on.check()
        assert on.uncertain() == set()
        assert log_of(on).last_seq > before.last_seq  # so the cursor's number alone would lead into it
        assert sum(metric(one, WENT_BACK) for one in (on.monitor, other)) == 1
        wait.until(lambda: resets(feed), "the reset of a feed that was open")
        assert not feed.ended.is_set()
        with FeedReader(other.url, f"/events?after={Cursor(before.epoch, before.last_seq)}") as late:
            wait.until(lambda: resets(late), "the reset of a feed that comes back")


def second(on: Stage, folder: Path) -> MonitorProcess:
    """A replica, with a home and so a journal of its own."""
    home = folder / "second"
    home.mkdir()
    shared = {name: value for name, value in on.monitor.env.items() if name not in ITS_OWN}
    return MonitorProcess(home, shared).start()


@contextmanager
def stopped(monitor: MonitorProcess) -> Iterator[None]:
    os.kill(monitor.process_id, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(monitor.process_id, signal.SIGCONT)


def end_runs(on: Stage) -> None:
    for _ in range(RUNS):
        on.end_run()
    on.wait_until_through()


def log_of(on: Stage) -> LogState:
    database = Database(on.monitor.env["WINDSOCK_DATABASE_URL"])
    try:
        return database.read_now(cursor.state)
    finally:
        database.close()


def resets(feed: FeedReader) -> bool:
    return any(one.event == "reset" for one in feed.messages)


def mails_of(monitor: MonitorProcess) -> int:
    return int(metric(monitor, 'windsock_delivery_outcomes_total{channel="email",outcome="sent"}'))


def metric(monitor: MonitorProcess, name: str) -> float:
    """0 where nothing was counted yet."""
    page = httpx.get(f"{monitor.url}/metrics", timeout=10, trust_env=False).text
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(f"{name} "))
