"""Tries that are over and behind which another one stands: what nobody told is told, and told once."""

import asyncio
import json
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.responses import JSONResponse, PlainTextResponse

from monitor.database.engine import Database
from monitor.event_log import read
from monitor.events import from_airflow
from monitor.events.event import Event, parse_event
from monitor.events.identity import earlier_try_id_of
from monitor.reconciler.task_tries import HOOKS_FIRST, MAX_ASKED
from tests.sample import START, run_event, task_event
from tests.unit.airflow_api_fake import FakeAirflow, Row, moment, serving, task_row
from tests.unit.conftest import NOW, FakeClock
from tests.unit.reconciler_support import RETENTION, Scene, ago, play, report

TI = "00000000-0000-7000-8000-000000000001"
"""The first try's UUID, which REST does not show."""
NAMED = "task_id: `task_9` and map_index: `-1` was not found"
RUN_ID = "manual__2026-11-22 10:00:00+00:00"


@pytest.fixture
def fake(clock: FakeClock) -> Iterator[FakeAirflow]:
    with serving(FakeAirflow(clock)) as fake:
        yield fake


LATE, EARLIER = NOW - timedelta(seconds=40), NOW - timedelta(minutes=2)


def latest(number: int = 2, ended: datetime = LATE, **changes: Any) -> Row:
    return task_row(9, ended) | {"try_number": number, "dag_run_id": RUN_ID, **changes}


def filed(number: int = 1, ended: datetime | None = EARLIER, state: str = "failed") -> Row:
    row = latest(number, state=state, end_date=ended and moment(ended))
    return {name: value for name, value in row.items() if name != "id"}


def nameless(number: int, state: str, map_index: int = -1) -> str:
    return earlier_try_id_of("etl", RUN_ID, "task_9", map_index, number, state)


def hook(state: str, **data: Any) -> Event:
    return parse_event(task_event(state, "task_9", run_id=RUN_ID, ti_id=TI, **data))


@pytest.mark.parametrize(
    ("told", "state", "expected"),
    [
        ((), "failed", nameless(1, "up_for_retry")),
        ((), "success", nameless(1, "success")),  # of a task that was cleared
        ((), "skipped", nameless(1, "skipped")),
        (("running",), "failed", f"task:{TI}:up_for_retry"),
        (("running",), "success", f"task:{TI}:success"),
        (("up_for_retry",), "failed", None),
        (("running", "failed"), "failed", None),
        # Of a process whose scheduler was dead: its word is heard, and Airflow has filed something else.
        (("running", "success"), "failed", f"task:{TI}:up_for_retry"),
        (("skipped",), "failed", f"task:{TI}:up_for_retry"),
    ],
)
def test_what_is_told_of_an_earlier_try(
    fake: FakeAirflow, database: Database, told: Sequence[str], state: str, expected: str | None
) -> None:
    fake.tasks, fake.filed = [latest()], [filed(state=state)]

    async def act(on: Scene) -> None:
        await on.ingest.take([hook(state) for state in told])
        before = len(on.logged())
        for _ in range(3):
            await on.reconciler.poll()
            fake.clock.forward(20)
        row_s_own = f"task:{fake.tasks[0]['id']}:success"
        assert set(on.logged()[before:]) == {row_s_own, expected} - {None}
        assert len(on.logged()) == len(set(on.logged()))
        assert len(fake.requests("/tries")) == (expected is not None)

    play(fake, database, act)


def test_a_success_that_was_cleared_is_asked_for_once_and_not_told_again(
    fake: FakeAirflow, database: Database
) -> None:
    fake.tasks, fake.filed = [latest()], [filed(state="success")]

    async def act(on: Scene) -> None:
        await on.ingest.take([hook("success")])
        for _ in range(3):
            await on.reconciler.poll()
            fake.clock.forward(20)
        assert [event_id for event_id in on.logged() if TI in event_id] == [f"task:{TI}:success"]
        assert len(fake.requests("/tries")) == 1

    play(fake, database, act)


def test_a_try_that_failed_while_it_was_queued_is_known_by_its_uuid(
    fake: FakeAirflow, database: Database
) -> None:
    """The hook says try 1; the row keeps its UUID, and Airflow files it as try 2."""
    fake.tasks, fake.filed = [latest(3)], [filed(2)]

    async def act(on: Scene) -> None:
        await on.ingest.take([hook("up_for_retry", try_number=1)])
        for _ in range(3):
            await on.reconciler.poll()
            fake.clock.forward(20)
        assert on.logged() == [f"task:{TI}:up_for_retry", f"task:{fake.tasks[0]['id']}:success"]

    play(fake, database, act)


def test_every_try_of_a_mapped_task_and_no_other_ones(fake: FakeAirflow, database: Database) -> None:
    fake.tasks = [latest(4, map_index=7)]
    fake.filed = [filed(number) | {"map_index": 7} for number in (1, 2, 3)] + [filed(1), filed(5)]

    async def act(on: Scene) -> None:
        await on.ingest.take([hook("up_for_retry", map_index=7, try_number=2)])
        await on.reconciler.poll()
        told = {event_id for event_id in on.logged() if event_id.startswith("try:")}
        assert told == {nameless(number, "up_for_retry", 7) for number in (1, 3)}

    play(fake, database, act)


def test_hooks_come_first(fake: FakeAirflow, database: Database) -> None:
    """A young try waits, however often Airflow is asked, and the watermark with it."""
    fake.tasks, fake.filed = [latest(ended=ago(seconds=6))], [filed(ended=ago(seconds=10))]
    own = f"task:{fake.tasks[0]['id']}:success"

    async def act(on: Scene) -> None:
        await on.reconciler.poll()
        assert on.logged() == [own]
        fake.clock.forward(1200)  # whatever the window's overlap
        await on.reconciler.poll()
        assert on.logged() == [own, nameless(1, "up_for_retry")]

    play(fake, database, act)


def test_a_task_that_was_just_scheduled_is_not_asked_for(fake: FakeAirflow, database: Database) -> None:
    fake.tasks = [latest(ended=ago(seconds=6), scheduled_when=moment(ago(seconds=12)))]
    fake.filed = [filed(ended=ago(seconds=13))]

    async def act(on: Scene) -> None:
        await on.reconciler.poll()
        assert fake.requests("/tries") == []
        fake.clock.forward(HOOKS_FIRST.total_seconds())
        await on.reconciler.poll()
        assert nameless(1, "up_for_retry") in on.logged()
        assert len(fake.requests("/tries")) == 1

    play(fake, database, act)


def test_a_try_that_has_no_end_is_told_all_the_same(fake: FakeAirflow, database: Database) -> None:
    fake.tasks, fake.filed = [latest()], [filed(ended=None)]

    async def act(on: Scene) -> None:
        await on.reconciler.poll()
        assert nameless(1, "up_for_retry") in on.logged()

    play(fake, database, act)


def test_an_airflow_that_fails_at_one_task_holds_up_no_other(fake: FakeAirflow, database: Database) -> None:
    fake.tasks = [latest(), latest(task_id="other", id=f"{TI[:-1]}8")]
    fake.filed = [filed(), filed() | {"task_id": "other"}]
    fake.failures = [("/task_9/-1/tries", PlainTextResponse("", 500)) for _ in range(MAX_ASKED)]

    async def act(on: Scene) -> None:
        for _ in range(MAX_ASKED + 2):
            await on.reconciler.poll()
            fake.clock.forward(1)
        (told,) = [event_id for event_id in on.logged() if event_id.startswith("try:")]
        assert told == earlier_try_id_of("etl", RUN_ID, "other", -1, 1, "up_for_retry")
        assert len(fake.requests("/task_9/-1/tries")) == MAX_ASKED
        assert on.count("windsock_reconcile_skipped_total", reason="no_answer") == 1
        assert on.trouble() is None

    play(fake, database, act)


def test_an_airflow_that_comes_back_is_asked_again(fake: FakeAirflow, database: Database) -> None:
    fake.tasks, fake.filed = [latest()], [filed()]
    fake.failures = [("/tries", PlainTextResponse("", 503))]

    async def act(on: Scene) -> None:
        await on.reconciler.poll()
        fake.clock.forward(3600)
        await on.reconciler.poll()
        assert nameless(1, "up_for_retry") in on.logged()

    play(fake, database, act)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            JSONResponse(
                {"detail": f"The Task Instance with dag_id: `etl`, run_id: `{RUN_ID}`, {NAMED}"}, 404
            ),
            None,
        ),
        (JSONResponse({"task_instances": [], "total_entries": 0}), "not_filed"),
    ],
)
def test_what_airflow_has_not_filed_is_asked_for_once(
    fake: FakeAirflow, database: Database, answer: JSONResponse, reason: str | None
) -> None:
    fake.tasks, fake.failures = [latest(3)], [("/tries", answer)]

    async def act(on: Scene) -> None:
        for _ in range(3):
            await on.reconciler.poll()
            fake.clock.forward(15)
        assert len(on.logged()) == len(fake.requests("/tries")) == 1
        if reason:
            assert on.count("windsock_reconcile_skipped_total", reason=reason) == 2

    play(fake, database, act)


def test_a_row_that_makes_no_sense_and_one_that_is_forgotten(fake: FakeAirflow, database: Database) -> None:
    fake.tasks = [latest(4)]
    old = NOW - RETENTION - timedelta(days=1)
    fake.filed = [filed(1) | {"end_date": "yesterday"}, filed(2), filed(3, ended=old)]

    async def act(on: Scene) -> None:
        await on.reconciler.poll()
        told = [event_id for event_id in on.logged() if event_id.startswith("try:")]
        assert told == [nameless(2, "up_for_retry")]
        assert on.count("windsock_reconcile_skipped_total", reason="expired") == 1

    play(fake, database, act)


NUMBERS = count(1)
ENDS = ("up_for_retry", "failed", "success")


def reports(task_id: str, hook_s_end: str) -> list[Event]:
    """What may be said of one try: by its hooks, by a poll, of what is filed with its UUID and without."""
    ti_id, names = str(uuid.uuid4()), {"dag_id": "etl", "dag_run_id": "r", "task_id": task_id}
    row = {**names, "map_index": -1, "try_number": 1, "max_tries": 1, "state": "failed"}
    hooks = [task_event(state, task_id, run_id="r", ti_id=ti_id) for state in ("running", hook_s_end)]
    known, unknown = (from_airflow.earlier_try_event("local", row, NOW, name) for name in (ti_id, None))
    assert known is not None
    assert unknown is not None
    return [*map(parse_event, hooks), known, unknown]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(4)), st.sets(st.integers(1, 3)), st.sampled_from(ENDS), st.data())
def test_hook_and_reconciler_in_any_order_are_logged_once(
    database: Database, order: list[int], cuts: set[int], hook_s_end: str, data: st.DataObject
) -> None:
    """In one request or in several; each of them may come twice. A hook's word that Airflow contradicts may
    come first, and is corrected."""
    task_id = f"task_{next(NUMBERS)}"
    all_reports = reports(task_id, hook_s_end)
    said = [all_reports[number] for number in order]
    said += data.draw(st.lists(st.sampled_from(all_reports), max_size=3))
    edges = [0, *sorted(cuts), len(said)]
    for start, end in pairwise(edges):
        asyncio.run(report(database, said[start:end]))
    log = database.read_now(lambda connection: read.read_after(connection, 0, 20_000))
    told = [event["data"] for event in map(json.loads, (one.body for one in log.events))]
    ends = [one["state"] for one in told if one["task_id"] == task_id and one["state"] != "running"]
    assert ends in ([hook_s_end], ["up_for_retry"], [hook_s_end, "up_for_retry"])
    assert hook_s_end == "success" or len(ends) == 1
    assert ends[-1] == "up_for_retry" or ends == ["failed"]


def test_a_process_that_airflow_has_given_up_is_not_heard_but_airflow_is(database: Database) -> None:
    """Measured on 3.2.2: a task ends well while the api-server is away, the scheduler has begun another try,
    and the first one's success is reported all the same."""
    over, late, running = hook("up_for_retry"), hook("success"), hook("running")
    raw = json.loads(late.body)
    by_airflow = parse_event({**raw, "data": {**raw["data"], "reported_by": "reconciler"}})

    for together in ([over], [late, running], [by_airflow]):
        asyncio.run(report(database, together))

    log = database.read_now(lambda connection: read.read_after(connection, 0, 10))
    told = [json.loads(one.body)["data"] for one in log.events]
    assert [(one["state"], one["reported_by"]) for one in told] == [
        ("up_for_retry", "listener"),
        ("success", "reconciler"),
    ]


WAITING = ("scheduled", "queued", "deferred", "up_for_reschedule", "awaiting_input")
NUMBER_TO_COME = (None, "restarting", "up_for_retry")


@pytest.mark.parametrize(
    ("state", "number"), [*((state, 2) for state in WAITING), *((state, 1) for state in NUMBER_TO_COME)]
)
def test_an_earlier_try_is_reported_while_the_next_one_waits(
    fake: FakeAirflow, database: Database, state: str | None, number: int
) -> None:
    """A row that has yet to be scheduled still has the number of the try that is filed."""
    fake.tasks = [latest(number, state=state, end_date=None, start_date=None)]
    fake.filed = [filed()]

    async def act(on: Scene) -> None:
        for _ in range(3):
            await on.reconciler.poll()
            fake.clock.forward(20)
        assert on.logged() == [nameless(1, "up_for_retry")]
        assert len(fake.requests("/tries")) == 1

    play(fake, database, act)


def made(at: datetime) -> str:
    """A UUID of version 7 of this moment."""
    return str(uuid.UUID(int=(int(at.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62) | 1))


STARTED = NOW - timedelta(minutes=10)


@pytest.mark.parametrize(
    ("state", "number", "cleared", "expected"),
    [
        (None, 0, "failed", ["up_for_retry"]),  # it waits for its upstream again
        ("running", 1, "failed", ["up_for_retry"]),
        ("awaiting_input", 1, "failed", ["up_for_retry"]),
        (None, 0, "upstream_failed", ["upstream_failed"]),
        (None, 0, None, []),  # made anew, and nothing filed: a task that the DAG's new version has
    ],
)
def test_a_task_that_was_cleared_before_it_began_is_reported_as_try_0(
    fake: FakeAirflow,
    database: Database,
    state: str | None,
    number: int,
    cleared: str | None,
    expected: list[str],
) -> None:
    ti_id = made(STARTED + timedelta(minutes=2))
    fake.tasks = [latest(number, id=ti_id, state=state, end_date=None)]
    fake.filed = [filed(0, state=cleared)] if cleared else []
    running = parse_event(run_event("running", run_id=RUN_ID, start=(STARTED - START).total_seconds()))

    async def act(on: Scene) -> None:
        await on.ingest.take([running])
        for _ in range(3):
            await on.reconciler.poll()
            fake.clock.forward(20)
        told = [event_id for event_id in on.logged() if event_id.startswith("try:")]
        assert told == [nameless(0, each) for each in expected]
        assert len(fake.requests("/tries")) == 1

    play(fake, database, act)


@pytest.mark.parametrize(
    "ti_id",
    [
        made(STARTED - timedelta(milliseconds=3)),  # as Airflow makes every task of a run
        made(STARTED + timedelta(seconds=1)),  # by a host whose clock is ahead
        "01936a5e-0000-4000-8000-000000000009",  # of no version that holds a time
    ],
)
def test_a_task_that_was_never_cleared_is_not_asked_for(
    fake: FakeAirflow, database: Database, ti_id: str
) -> None:
    fake.tasks = [latest(1, id=ti_id, state="running", end_date=None)]
    running = parse_event(run_event("running", run_id=RUN_ID, start=(STARTED - START).total_seconds()))

    async def act(on: Scene) -> None:
        await on.ingest.take([running])
        await on.reconciler.poll()
        assert not fake.requests("/tries")

    play(fake, database, act)
