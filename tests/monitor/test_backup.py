"""Backup under load, loss, restore: nothing is lost, nothing is told twice; on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor import event_log
from monitor.database import Database
from monitor.event_log import Cursor
from tests import wait
from tests.monitor.restore_support import Stage, stage
from tests.monitor.web_support import FeedReader


@pytest.fixture(params=["sqlite", "postgresql"])
def on(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    with stage(tmp_path, url) as on:
        yield on


def test_nothing_is_lost_or_told_twice_after_a_restore(on: Stage, tmp_path: Path) -> None:
    monitor, file = on.monitor.start(), tmp_path / "backup"
    with on.runs_ending():
        on.wait_for_mails(15)
        on.windsock("backup", str(file))
        on.wait_for_mails(30)
    before = monitor.get("/api/v1/events", limit=1)["events"][0]["cursor"]
    monitor.kill()  # mails are on their way
    for _ in range(8):
        on.end_run(reported=False)
    said = on.windsock("restore", str(file))
    assert "are not sent again" in said
    monitor.start()
    on.wait_until_through()
    with on.runs_ending():
        on.wait_for_mails(10)
    on.wait_until_through()
    on.check()
    ahead = Cursor.parse(before)
    assert ahead.seq <= on_log(on).last_seq  # it has grown past it
    with FeedReader(monitor.url, f"/events?after={before}") as reader:
        wait.until(lambda: reader.messages, "the feed to begin")
        assert reader.messages[0].event == "reset"


def on_log(on: Stage) -> event_log.LogState:
    env = on.monitor.env
    database = Database(env["WINDSOCK_DATABASE_URL"] or f"sqlite:///{env['WINDSOCK_HOME']}/windsock.db")
    try:
        return database.read_now(event_log.state)
    finally:
        database.close()
