"""Rows that hold something else than they should: each is left out, logged and counted, and stops nobody."""

import asyncio
import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text, update

from monitor.database import types
from monitor.database.engine import Database
from monitor.database.schema import deliveries, events
from monitor.delivery.channels.mailbox import Mailbox
from monitor.delivery.confirm import Recoveries
from monitor.event_log import append as log
from monitor.event_log import read
from monitor.event_log.filters import Filter, began_by, redact_body
from monitor.event_log.projections import assets
from monitor.event_log.projections.assets import AssetName
from monitor.events.event import parse_event
from monitor.notifications import silences as notifications_silences
from monitor.notifications.engine import Reminders
from monitor.notifications.outbox import queries, queue
from monitor.notifications.outbox.records import State
from monitor.observability.metrics import UNREADABLE_ROWS
from monitor.rules.model import Match
from monitor.settings import Settings
from monitor.watches.asset_updates import Updates
from monitor.web.auth import tokens as auth_tokens
from monitor.web.auth.tokens import Draft, Owner, Scope
from tests import wait
from tests.sample import asset_event, run_event, task_event
from tests.unit.conftest import NOW, FakeClock
from tests.unit.delivery_support import Office, ScriptedAirflow, airflow_run
from tests.unit.notify_support import reraise
from tests.unit.web_support import FeedReader, serving

GOOD = json.dumps(asset_event(7))
BODIES = {
    "no JSON": '{"specversion": "1.0", "data": {',
    "no object": "[1, 2]",
    "null": "null",
    "an object of nothing": "{}",
    "data that is none": json.dumps(json.loads(GOOD) | {"data": [1]}),
    "keys missing": json.dumps(json.loads(GOOD) | {"data": {"asset": {}}}),
    "a type of another release": json.dumps(json.loads(GOOD) | {"type": "airflow.asset.melted"}),
    "a state of another release": json.dumps(run_event("failed")).replace('"failed"', '"vanished"'),
}
PAGES = (
    *("/", "/events/list", "/runs", "/assets", "/incidents", "/incidents/1", "/mail", "/deliveries/1"),
    *("/silences", "/silences/new?dag_id=etl&deployment=local", "/status?dag_id=etl", "/settings"),
    *("/runs/local/etl/manual__1", "/assets/local?uri=file:///model.pkl", "/templates/run_failed"),
    *("/api?dag_id=etl", "/api/v1/events", "/api/v1/runs", "/api/v1/assets", "/api/v1/incidents"),
    *("/api/v1/incidents/1", "/api/v1/deliveries", "/api/v1/deliveries/1", "/api/v1/silences"),
    *("/api/v1/tokens", "/health", "/metrics"),
    "/api/v1/assets/updates?deployment=local&uri=file:///model.pkl",
)


@pytest.fixture(autouse=True)
def nothing_logged_before() -> None:
    types._logged.clear()


def count(table: str) -> float:
    return UNREADABLE_ROWS.labels(table)._value.get()  # type: ignore[no-any-return]


def told_of(reader: FeedReader) -> list[str]:
    return [message.id for message in reader.messages if message.event != "message"]


def break_bodies(database: Database, body: str, but: int) -> None:
    """Every event but the one of this seq."""
    database.write_now(lambda c: c.execute(update(events).where(events.c.seq != but).values(body=body)))


def run(database: Database, statement: Any) -> None:
    database.write_now(lambda connection: connection.execute(statement))


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_pages_and_feeds_show_the_others(settings: Settings, body: str) -> None:
    with serving(settings) as monitor:
        runs = [run_event("failed", run_id=f"manual__{number}", start=60 * number) for number in range(1, 4)]
        monitor.post([*runs, task_event("failed", task_id="load"), asset_event(1), asset_event(2)])
        database = monitor.app.state.services.database
        cursor = monitor.client.get("/api/v1/events").json()["events"]
        assert len(cursor) == 6
        break_bodies(database, body, but=1)
        for page in PAGES:
            answer = monitor.client.get(page, headers={"Accept": "text/html"})
            assert answer.status_code in (200, 404, 503), (page, answer.status_code, answer.text[:400])
            assert answer.status_code == 200 or page in ("/deliveries/1", "/health", "/api/v1/deliveries/1")
        assert runs[0]["id"] in [
            one["event"].get("id") for one in monitor.client.get("/api/v1/events").json()["events"]
        ]
        with FeedReader(monitor.url, "/events?since=2020-01-01T00:00:00Z") as reader:
            monitor.post([run_event("success", run_id="later", start=600)])
            wait.until(lambda: len(told_of(reader)) >= 7, "the feed to go past the broken rows")
        assert monitor.fatal == []


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_consumers_go_on(database: Database, clock: FakeClock, tmp_path: Path, body: str) -> None:
    """Deliveries, reminders, recoveries, the watches of assets, and what is asked of the log at ingest."""
    airflow = ScriptedAirflow(airflow_run("failed"))
    office = Office(database, clock, Mailbox(tmp_path / "mailbox", clock), airflow)
    failed = [run_event("failed", dag_id=f"dag_{n}", run_id=f"r{n}", start=n) for n in range(3)]
    airflow.runs |= {f"r{n}": airflow_run("failed", n) for n in range(3)}
    office.tell(*failed, run_event("success", dag_id="dag_2", run_id="s", start=40), asset_event(1))
    run(database, update(events).where(events.c.seq != 1).values(body=body))
    before = count("events")
    clock.forward(3600)
    office.deliver()
    sent = [(one.dag_id, one.state) for one in office.deliveries() if one.state is State.SENT]
    assert ("dag_0", State.SENT) in sent
    engine, wake = office.town.engine, office.wake
    asyncio.run(Reminders(database, engine, wake, clock, reraise).look())
    asyncio.run(Recoveries(database, {"local": airflow}, engine, wake, clock, reraise).look())
    updates = Updates("local")
    asyncio.run(updates.read_on(database))
    assert count("events") > before
    told = [parse_event(one) for one in failed]
    assert database.read_now(lambda c: log.lacking(c, told)) <= {one.id for one in told[1:]}
    name = AssetName("local", "file:///model.pkl")
    assert len(database.read_now(lambda c: assets.asset_updates(c, name, 10))) <= 1
    rows = database.read_now(lambda c: read.read_before(c, None, 10, Filter()))
    assert 1 in [seq for seq, _ in read.parse_each(rows)]


def test_what_a_broken_update_names_is_shown_to_nobody_who_may_not_read_all() -> None:
    for body in ('{"data": {"created_dagruns": [', "[]", '{"source": "/airflow/local", "data": []}'):
        assert redact_body("airflow.asset.updated", body, frozenset()) == "{}"
        assert list(began_by(body)) == []


def store_json(connection: Connection, table: str, column: str, value: str) -> None:
    """Into the first row, as a person would; PostgreSQL takes JSON alone."""
    given = "CAST(:value AS JSON)" if connection.dialect.name == "postgresql" else ":value"
    statement = f"UPDATE {table} SET {column} = {given} WHERE id = 1"  # noqa: S608 (names of this file)
    connection.execute(text(statement), {"value": value})


def break_delivery(connection: Connection, column: str, value: str) -> None:
    if column == "kind":
        connection.execute(update(deliveries).where(deliveries.c.id == 1).values(kind=value))
    else:
        store_json(connection, "deliveries", column, value)


BROKEN_COLUMNS = [
    ("kind", "telepathy"),
    ("recipients", "[]"),
    ("recipients", "3"),
    ("recipients", "[broken"),
    ("remaining", "7"),
]


@pytest.mark.parametrize(("column", "value"), BROKEN_COLUMNS)
@pytest.mark.parametrize("is_claimed", [False, True])
def test_a_broken_delivery_is_dead_and_the_others_are_sent(
    database: Database,
    clock: FakeClock,
    tmp_path: Path,
    column: str,
    value: str,
    is_claimed: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if value == "[broken" and database.is_shared:
        pytest.skip("PostgreSQL keeps no such JSON")
    office = Office(database, clock, Mailbox(tmp_path / "mailbox", clock))
    office.tell(*(run_event("failed", dag_id=f"dag_{number}") for number in range(3)))
    clock.forward(3600)
    if is_claimed:
        database.write_now(lambda c: queue.claim(c, clock(), timedelta(minutes=1)))
        clock.forward(120)
    database.write_now(lambda c: break_delivery(c, column, value))
    before = count("deliveries")
    office.deliver()
    states = database.read_now(lambda c: [tuple(row) for row in c.execute(_STATES)])
    assert states == [(1, "dead"), (2, "sent"), (3, "sent")]
    assert count("deliveries") > before
    assert [one.id for one in office.deliveries()] == [3, 2]
    assert database.read_now(lambda c: queries.find(c, 1)) is None
    assert database.read_now(queries.counts)[State.DEAD] == 1
    told = [record.getMessage() for record in caplog.records if "cannot be read" in record.getMessage()]
    assert sum("a row of deliveries (1)" in line for line in told) == 1  # not at every look


_STATES = text("SELECT id, state FROM deliveries ORDER BY id")


def test_a_state_and_a_channel_of_another_release_stand_in_nobodys_way(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    office = Office(database, clock, Mailbox(tmp_path / "mailbox", clock))
    office.tell(*(run_event("failed", dag_id=f"dag_{number}") for number in range(3)))
    run(database, update(deliveries).where(deliveries.c.id == 1).values(state="levitating"))
    run(database, update(deliveries).where(deliveries.c.id == 2).values(channel="pigeon"))
    clock.forward(3600)
    office.deliver()
    assert [(one.id, one.state) for one in office.deliveries()] == [(3, State.SENT)]
    assert database.read_now(queries.counts)[State.SENT] == 1
    assert database.read_now(lambda c: queries.load_stats(c, clock())).waiting == 1


@pytest.mark.parametrize("match", ['{"no_such_field": 1}', "[]", "null", "broken{"])
def test_a_broken_silence_silences_nothing_and_stops_nothing(
    database: Database, clock: FakeClock, match: str
) -> None:
    if match == "broken{" and database.is_shared:
        pytest.skip("PostgreSQL keeps no such JSON")
    office = Office(database, clock)
    of_etl = Match(dag_id=("etl",))
    until = clock() + timedelta(hours=1)

    def write(connection: Connection) -> None:
        notifications_silences.add(connection, of_etl, "alice", "quiet", clock(), until, clock())
        store_json(connection, "silences", "match", match)

    database.write_now(write)
    office.tell(run_event("failed"))
    assert len(office.deliveries()) == 1
    assert database.read_now(lambda c: notifications_silences.page(c, 10)) == []
    assert database.read_now(lambda c: notifications_silences.find(c, 1)) is None


@pytest.mark.parametrize(("column", "value"), [("scopes", '["fly"]'), ("dags", "broken["), ("dags", "3")])
def test_a_broken_token_opens_nothing(database: Database, column: str, value: str) -> None:
    """Above all it does not read every DAG, as a token whose DAGs are null does."""
    if value == "broken[" and database.is_shared:
        pytest.skip("PostgreSQL keeps no such JSON")
    alice = Owner("alice", frozenset({"local"}))
    draft = Draft("screen", frozenset({Scope.READ}), frozenset({("local", "etl")}))
    made, secret = database.write_now(lambda c: auth_tokens.add(c, draft, alice, NOW))

    database.write_now(lambda c: store_json(c, "tokens", column, value))
    found = database.read_now(lambda c: auth_tokens.find_by_hash(c, auth_tokens.hash_of(secret)))
    assert found is None or found.dags == frozenset()
    database.read_now(lambda c: auth_tokens.page(c, auth_tokens.EVERYONE, 10))
    assert made.dags


def test_names_that_are_none_are_nobodys(database: Database) -> None:
    draft = Draft("screen", frozenset({Scope.READ}), frozenset())
    database.write_now(lambda c: auth_tokens.add(c, draft, Owner("alice", frozenset({"local"})), NOW))
    run(database, text("UPDATE tokens SET authenticated_by = 'broken'"))
    [found] = database.read_now(lambda c: auth_tokens.page(c, auth_tokens.EVERYONE, 10))
    assert found.authenticated_by == frozenset()


def test_each_row_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_row: Any) -> None:
        raise KeyError("data")

    before = count("events")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert list(types.read_each("events", [{"seq": 7}, {"seq": 8}], fail)) == []
    assert [record.getMessage() for record in caplog.records] == [
        f"a row of events ({seq}) cannot be read, and is left out: KeyError: 'data'" for seq in (7, 8)
    ]
    assert count("events") == before + 6
