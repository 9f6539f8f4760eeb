"""From SQLite to PostgreSQL: everything is there, feeds go on, and nothing is told again."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, func, insert, select, text

from monitor.cli.backup.copy_to_postgresql import move
from monitor.clock import utc_now
from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.database.schema import deliveries, events, metadata
from monitor.errors import BackupError
from monitor.event_log import cursor, read
from monitor.event_log.append import append
from monitor.event_log.cursor import Cursor
from monitor.events.event import parse_event
from monitor.notifications.outbox import queries
from monitor.web.auth import tokens
from monitor.web.auth.tokens import Draft, Scope
from tests.sample import run_event
from tests.unit.restore_support import Stage, stage
from tests.unit.web_support import FeedReader

EVENTS = int(os.environ.get("MOVE_EVENTS", "20000"))
"""`make test-restore` moves 200,000."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "windsock.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


@pytest.fixture
def target(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    yield database
    database.close()


def test_a_monitor_goes_on_where_it_was(tmp_path: Path, postgres_url: str) -> None:
    with stage(tmp_path) as on:
        on.monitor.start()
        for _ in range(12):
            on.end_run()
        on.wait_until_through()
        sent = len(on.mail.mails)
        half = _cursor(on, on.ended[5])
        rest = [event["id"] for event in on.monitor.events()][half.seq :]
        on.monitor.stop()
        said = on.windsock("move", postgres_url)
        assert "are moved, and counted" in said
        assert not (Path(on.monitor.env["WINDSOCK_HOME"]) / "windsock.db").exists()
        on.monitor.env["WINDSOCK_DATABASE_URL"] = postgres_url
        on.monitor.start()
        with FeedReader(on.monitor.url, f"/events?after={half}") as reader:
            assert [event["id"] for event in reader.wait_for(len(rest))] == rest
            on.end_run()
            assert reader.wait_for(len(rest) + 1)[-1]["id"] == on.ended[-1]
        on.wait_until_through()
        on.check()
        assert len(on.mail.mails) == sent + 1


def _cursor(on: Stage, event_id: str) -> Cursor:
    database = Database(f"sqlite:///{on.monitor.env['WINDSOCK_HOME']}/windsock.db")
    try:
        [found] = database.read_now(lambda connection: read.find_by_id(connection, event_id))
        return Cursor(database.read_now(cursor.state).epoch, found.seq)
    finally:
        database.close()


def fill(connection: Connection) -> None:
    """Many events, and what is easily lost on the way: JSON that is null, empty columns, numbers given."""
    body = json.dumps({"a": "ä\u2028"})
    row = {"source": "/airflow/local", "type": "t", "subject": "s", "deployment": "local", "body": body}
    times = {"time": utc_now(), "received_at": utc_now()}
    rows = [{**row, **times, "seq": seq, "id": str(seq)} for seq in range(1, EVENTS + 1)]
    connection.execute(insert(events), rows)
    connection.execute(text("UPDATE log_state SET last_seq = :last"), {"last": EVENTS})
    for name in ("first", "last"):
        tokens.add(connection, Draft(name, frozenset([Scope.READ]), None), None, utc_now())
    connection.execute(text("DELETE FROM tokens WHERE name = 'last'"))


def test_many_rows_are_there_as_they_were(source: Path, target: Database) -> None:
    old = Database(f"sqlite:///{source}")
    old.write_now(fill)
    before = old.read_now(contents)
    old.close()
    told: list[tuple[str, int, int]] = []
    copied = move(source, target, lambda *progress: told.append(progress))
    assert copied["events"] == EVENTS
    assert ("events", EVENTS, EVENTS) in told
    after = target.read_now(contents)
    assert after == before
    # The numbers go on, of tokens even behind one that is gone; JSON's null is no empty column.
    made, _ = target.write_now(
        lambda c: tokens.add(c, Draft("new", frozenset([Scope.READ]), None), None, utc_now())
    )
    assert made.id == 3
    assert target.read_now(lambda c: tokens.page(c, tokens.EVERYONE, 10))[-1].dags is None
    target.write_now(lambda c: append(c, [parse_event(run_event())], utc_now()))
    assert target.read_now(cursor.state).last_seq == EVENTS + 1
    assert target.read_now(lambda c: queries.deliveries(c, 1)) == []
    assert target.read_now(lambda c: c.execute(select(func.count()).select_from(deliveries)).scalar()) == 0


def contents(connection: Connection) -> dict[str, list[str]]:
    return {
        table.name: sorted(str(tuple(row)) for row in connection.execute(select(table)))
        for table in metadata.sorted_tables
    }


def test_what_is_not_empty_is_left_alone(source: Path, target: Database) -> None:
    migrate(target)
    target.write_now(lambda c: append(c, [parse_event(run_event(start=1))], utc_now()))
    with pytest.raises(
        BackupError, match=r"is not empty \(log_state, events\)|is not empty \(events, log_state\)"
    ):
        move(source, target, lambda *_: None)


def test_what_is_open_or_old_is_not_moved(source: Path, target: Database) -> None:
    with pytest.raises(BackupError, match="there is no database"):
        move(source.with_name("other"), target, lambda *_: None)
    engine = create_engine(f"sqlite:///{source}")
    with engine.connect() as connection:
        connection.execute(text("SELECT * FROM log_state")).all()
        with pytest.raises(BackupError, match="stop it first"):
            move(source, target, lambda *_: None)
        connection.commit()
        connection.execute(text("UPDATE alembic_version SET version_num = '0016'"))
        connection.commit()
    engine.dispose()
    with pytest.raises(BackupError, match="run `windsock migrate` first"):
        move(source, target, lambda *_: None)
    assert target.read_now(cursor.state).last_seq == 0
