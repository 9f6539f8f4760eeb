"""A database of an earlier release is brought to this one's schema, with all that is in it."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Column, Connection, MetaData, Table, insert, inspect, text

from monitor.database.engine import Database
from monitor.database.migrate import SCRIPTS, UPGRADES_OLDER, migrate, versions
from monitor.database.schema import decisions, metadata
from monitor.database.schema import sessions as sessions_table
from monitor.database.schema import tokens as tokens_table
from monitor.database.types import UtcDateTime
from monitor.errors import SettingsError
from monitor.event_log.append import append
from monitor.event_log.projections.state import apply_assets, apply_runs, apply_tasks
from monitor.events.data import AssetData, DagRunData, TaskInstanceData
from monitor.events.event import parse_event
from monitor.notifications import incidents
from monitor.notifications.outbox import decisions as outbox_decisions
from monitor.web.auth import tokens
from tests.sample import asset_event, moment, run_event, task_event
from tests.unit.conftest import NOW

CONTRACT = Path(__file__).parents[2] / "contract"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    sqlite = f"sqlite:///{tmp_path / 'windsock.db'}"
    database = Database(sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url"))
    yield database
    database.close()


def bring_to(database: Database, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))

    def upgrade(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    database.write_now(upgrade)


def contents(connection: Connection) -> dict[str, list[Any]]:
    tables = inspect(connection).get_table_names()
    return {name: sorted(map(str, connection.execute(text(f"SELECT * FROM {name}")))) for name in tables}  # noqa: S608 (its own names)


def columns(connection: Connection) -> dict[str, set[str]]:
    inspector = inspect(connection)
    return {
        name: {column["name"] for column in inspector.get_columns(name)}
        for name in inspector.get_table_names()
        if name != "alembic_version"
    }


TI = [f"00000000-0000-7000-8000-{number:012d}" for number in range(4)]
TOLD = [
    run_event("failed"),
    asset_event(1),
    task_event("running", ti_id=TI[0]),
    task_event("up_for_retry", ti_id=TI[0]),
    task_event("failed", ti_id=TI[1], try_number=2),
    task_event("running", ti_id=TI[1], try_number=2),  # the hook's report came late
    task_event("success", ti_id=TI[1], try_number=2),  # by hand
    task_event("running", ti_id=TI[2], map_index=3),
]
"""Events that a database of the oldest revision may hold."""


def hold(connection: Connection) -> None:
    """Log these events, as a monitor of that time did."""
    events = [parse_event(raw) for raw in TOLD]
    for seq, event in zip(append(connection, events, NOW), events, strict=True):
        assert seq is not None
        match event.data:
            case DagRunData() as run:
                apply_runs(connection, [(seq, event, run)])
            case TaskInstanceData() as task:
                apply_tasks(connection, [(seq, event, task)])
            case AssetData() as asset:
                apply_assets(connection, [(seq, event, asset)])


def test_the_oldest_schema_with_all_it_holds(empty: Database) -> None:
    bring_to(empty, "0007")
    empty.write_now(hold)
    before = empty.read_now(contents)
    migrate(empty)
    after = empty.read_now(contents)
    assert {name: after[name] for name in before if name != "alembic_version"} == {
        name: rows for name, rows in before.items() if name != "alembic_version"
    }
    assert after["import_errors"] == after["dags"] == []
    assert empty.read_now(versions_of) == versions(empty)[1]
    migrate(empty)
    assert empty.read_now(contents) == after


@pytest.mark.parametrize("revision", ["0001", "0006", "0012"])
def test_a_schema_between_the_migrations_is_refused_with_a_remedy(empty: Database, revision: str) -> None:
    migrate(empty)
    empty.write_now(
        lambda c: c.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": revision})
    )
    before = empty.read_now(contents)
    with pytest.raises(SettingsError) as refused:
        migrate(empty)
    assert f"has schema {revision}, and this release upgrades from 0007, 0017, " in str(refused.value)
    assert f"Run `windsock migrate` of {UPGRADES_OLDER} on it first" in str(refused.value)
    assert "newer" not in str(refused.value)
    assert empty.read_now(contents) == before


def test_whose_a_token_is_follows_from_its_dags_and_sessions_end(empty: Database) -> None:
    """What an older release wrote: the DAGs of a token were shown by the Airflows that knew its creator."""
    bring_to(empty, "0007")
    two = [["emea", "etl"], ["local", "etl"], ["local", "payroll"]]
    rows = {"two": ("alice", two), "every": ("alice", None), "nothing": ("alice", []), "machine": (None, two)}
    kept = {"prefix": "wst_", "scopes": ["read"], "created_at": NOW, "expires_at": NOW + timedelta(days=1)}
    old = Table(
        "tokens",
        MetaData(),
        *(Column(name, tokens_table.c[name].type) for name in ("hash", "name", "created_by", "dags", *kept)),
    )

    def fill(connection: Connection) -> None:
        for name, (user, dags) in rows.items():
            row = {"hash": tokens.hash_of(name), "name": name, "created_by": user, "dags": dags}
            connection.execute(insert(old).values(row | kept))
        session = {"hash": "x", "owner": "alice", "sealed": b"", "expires_at": NOW + timedelta(days=1)}
        connection.execute(insert(sessions_table).values(session))

    empty.write_now(fill)
    migrate(empty)
    found = empty.read_now(lambda connection: tokens.page(connection, tokens.EVERYONE, 10))
    assert {one.name: one.authenticated_by for one in found} == {
        "two": {"emea", "local"},
        "every": None,
        "nothing": None,
        "machine": None,
    }
    assert empty.read_now(contents)["sessions"] == []


def test_the_migrations_make_what_the_schema_says(empty: Database) -> None:
    migrate(empty)
    assert empty.read_now(columns) == {
        table.name: {column.name for column in table.columns} for table in metadata.sorted_tables
    }


def versions_of(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def old_incident(key: str, seq: int) -> dict[str, Any]:
    began = {"opened_at": NOW, "last_at": NOW, "opened_seq": seq, "last_seq": seq}
    known = {"deployment": "local", "title": key, "state": "open", "failures": 1, "flapping": False}
    return {"key": key, **known, **began}


def test_open_incidents_are_named_anew_or_closed(empty: Database) -> None:
    """None is left open that no event could end any more."""
    bring_to(empty, "0007")
    stuck = json.loads((CONTRACT / "windsock.run.stuck.json").read_text())["event"]
    missing = json.loads((CONTRACT / "windsock.run.missing.json").read_text())["event"]
    broken = json.loads((CONTRACT / "dag.import_error.new.json").read_text())["event"] | {"time": moment()}
    told = [
        *(run_event("failed", logical_date=moment(-5)), task_event("failed", map_index=3)),
        *(task_event("failed"), stuck, missing, broken),
    ]
    keys = [
        *("dag:etl", "task:etl/load", "task:etl/load", "windsock.run.stuck:etl", "windsock.run.missing:etl"),
        "import_error:broken.py",
    ]

    def fill(connection: Connection) -> None:
        events = [parse_event(raw) for raw in told]
        seqs = append(connection, events, NOW)
        typed: dict[str, Column[datetime]] = {
            name: Column(name, UtcDateTime()) for name in ("opened_at", "last_at")
        }
        table = Table("incidents", MetaData(), *typed.values(), autoload_with=connection)
        rows = [old_incident(key, seq or 0) for key, seq in zip(keys, seqs, strict=True)]
        gone = [old_incident(key, 900) for key in ("windsock.run.late:etl", "import_error:gone.py")]
        connection.execute(insert(table), rows + gone)

    empty.write_now(fill)
    migrate(empty)
    found = empty.read_now(lambda connection: incidents.page(connection, 20))[::-1]
    assert [(one.key, one.state) for one in found] == [
        ("dag:etl", "open"),
        ("task:etl/load[3]", "open"),
        ("task:etl/load", "open"),
        (f"windsock.run.stuck:{stuck['subject']}", "open"),
        ("windsock.run.missing:etl", "open"),
        ("import_error:/opt/airflow/dags/etl/broken.py", "open"),
        ("windsock.run.late:etl", "closed"),
        ("import_error:gone.py", "closed"),
    ]
    assert found[0].latest_moment == parse_event(told[0]).get("logical_date")
    assert found[4].latest_moment == parse_event(missing).get("expected_at")
    assert {one.closed_by for one in found} == {None, "Windsock"}


def test_the_outcome_of_a_decision_has_a_new_name_and_nothing_else_changes(empty: Database) -> None:
    bring_to(empty, "0007")
    row = {
        "event_seq": 1,
        "event_id": "e",
        "deployment": "local",
        "rule": "r",
        "reason": "told",
        "created_at": NOW,
    }
    rows = [row | {"outcome": outcome} for outcome in ("told", "grouped", "suppressed")]
    empty.write_now(lambda connection: connection.execute(insert(decisions).values(rows)))
    before = empty.read_now(contents)
    migrate(empty)
    after = empty.read_now(contents)
    found = empty.read_now(lambda connection: outbox_decisions.decisions_of_event(connection, "e"))
    assert [(one.outcome, one.reason) for one in found] == [
        ("notified", "told"),
        ("grouped", "told"),
        ("suppressed", "told"),
    ]
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"decisions", "alembic_version"}
