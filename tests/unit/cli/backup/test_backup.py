"""Backup under load, loss, restore: nothing is lost, nothing is told twice; on both databases."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from monitor.cli.backup import postgresql, sqlite
from monitor.database.engine import Database
from monitor.errors import BackupError
from monitor.event_log import append
from monitor.event_log import cursor as event_log_cursor
from monitor.event_log.cursor import Cursor, LogState
from tests import wait
from tests.unit.restore_support import Stage, stage
from tests.unit.web_support import FeedReader

MAILS = int(os.environ.get("RESTORE_MAILS", "8"))
"""How many are sent between two steps: `make test-restore` takes many more."""


@pytest.fixture(params=["sqlite", "postgresql"])
def on(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    with stage(tmp_path, url) as on:
        yield on


@pytest.mark.slow
def test_nothing_is_lost_or_told_twice_after_a_restore(on: Stage, tmp_path: Path) -> None:
    monitor, file = on.monitor.start(), tmp_path / "backup"
    with on.runs_ending():
        on.wait_for_mails(MAILS)
        on.windsock("backup", str(file))
        on.wait_for_mails(2 * MAILS)
    before = log_of(on)
    monitor.kill()  # mails are on their way
    for _ in range(8):
        on.end_run(reported=False)
    said = on.windsock("restore", str(file))
    assert "are not sent again" in said
    monitor.start()
    on.wait_until_through()
    while log_of(on).last_seq <= before.last_seq:
        on.end_run()
    on.wait_until_through()
    on.check()
    cursor = Cursor(before.epoch, before.last_seq)  # the log has grown past it
    with FeedReader(monitor.url, f"/events?after={cursor}") as reader:
        wait.until(lambda: any(one.event == "reset" for one in reader.messages), "the reset")


def log_of(on: Stage) -> LogState:
    env = on.monitor.env
    database = Database(env["WINDSOCK_DATABASE_URL"] or f"sqlite:///{env['WINDSOCK_HOME']}/windsock.db")
    try:
        return database.read_now(event_log_cursor.state)
    finally:
        database.close()


def test_a_backup_is_put_back_by_hand_and_by_other_programs(database: Database, tmp_path: Path) -> None:
    is_sqlite = database.engine.dialect.name == "sqlite"
    url = database.url.render_as_string(hide_password=False)
    epoch = database.read_now(event_log_cursor.state).epoch
    database.engine.dispose()
    with stage(tmp_path / "stage", url) as on:
        said = on.windsock("restore", "--by-hand")
    assert "0 mails" in said
    assert is_sqlite or "restored" in said
    assert database.read_now(event_log_cursor.state).epoch != epoch


def test_what_a_monitor_has_open_is_not_replaced(database: Database, tmp_path: Path) -> None:
    """Nor moved; and a backup of it is taken all the same."""
    file, path = tmp_path / "backup", Path(database.url.database or "")
    is_sqlite = database.engine.dialect.name == "sqlite"

    def take() -> int:
        return sqlite.take(path, file) if is_sqlite else postgresql.take(database, file)

    with database.engine.connect() as connection:  # as a monitor's pool holds it
        event_log_cursor.state(connection)
        assert take() > 0
        if is_sqlite:
            with pytest.raises(BackupError, match="stop it first"), sqlite.alone(path):
                pass
        else:
            with pytest.raises(BackupError, match="stop every monitor"):
                postgresql.restore_backup(database, file, lambda: None)
    with pytest.raises(BackupError, match="exists already"):
        take()


@pytest.mark.parametrize("is_link", [False, True])
def test_a_backup_is_in_no_file_that_somebody_else_has_made(
    database: Database, tmp_path: Path, is_link: bool
) -> None:
    """Another user may have put one, or a link, where it is written first, and may have it open."""
    file, part, other = tmp_path / "backup", tmp_path / "backup.part", tmp_path / "other"
    other.write_text("kept")
    other.chmod(0o666)
    part.symlink_to(other) if is_link else part.hardlink_to(other)
    if database.engine.dialect.name == "sqlite":
        sqlite.take(Path(database.url.database or ""), file)
    else:
        postgresql.take(database, file)
        assert file.read_bytes().startswith(b"PGDMP")
    assert other.read_text() == "kept"
    assert not file.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o600
    assert not part.exists()


def test_a_backup_that_is_none_changes_nothing(tmp_path: Path) -> None:
    other, broken = tmp_path / "other.db", tmp_path / "broken.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE something (id)")
    broken.write_bytes(b"no database at all" * 100)
    target = tmp_path / "windsock.db"
    for file in (other, broken):
        with pytest.raises(BackupError, match="no database of Windsock's"):
            sqlite.copy(file, target)
    with pytest.raises(BackupError, match="no such file"):
        sqlite.copy(tmp_path / "nothing", target)


@pytest.mark.slow
def test_a_restore_that_fails_in_the_middle_leaves_what_was_there(postgres_url: str, tmp_path: Path) -> None:
    def epoch() -> str:
        return database.read_now(event_log_cursor.state).epoch

    database, file = Database(postgres_url), tmp_path / "backup"
    with stage(tmp_path / "stage", postgres_url) as on:
        on.windsock("migrate")
        on.windsock("backup", str(file))
        database.write_now(append.begin_epoch)
        mine = epoch()
        database.engine.dispose()
        shutil.copy(file, tmp_path / "cut")
        os.truncate(tmp_path / "cut", file.stat().st_size // 2)
        with pytest.raises(BackupError, match="pg_restore failed"):
            postgresql.restore_backup(database, tmp_path / "cut", lambda: None)
        assert epoch() == mine
        database.engine.dispose()
        on.windsock("restore", str(file))
    assert epoch() != mine
    database.close()
