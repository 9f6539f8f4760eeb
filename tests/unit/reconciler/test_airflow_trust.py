"""An Airflow that lies, or what answers in its place: no answer ends the comparison or hides the rest."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from monitor.airflow import paging
from monitor.airflow.client import AirflowApi
from monitor.airflow.connection import MAX_AHEAD, MAX_ANSWER
from monitor.bounded_json import MAX_DEPTH, TooMuch, is_deeper, loads
from monitor.database.engine import Database
from monitor.errors import AirflowAnswerTooLong, EventError
from monitor.event_log.projections.dags import load_dags
from monitor.events import from_airflow
from monitor.events.data import YEARS, moment_from
from monitor.events.identity import stamp
from monitor.reconciler.dags import DagSnapshot
from monitor.reconciler.import_errors import ImportErrors
from monitor.reconciler.loop import snapshots
from monitor.reconciler.task_tries import MAX_TRIES, TriedTask
from tests.unit.airflow_api_fake import (
    PASSWORD,
    USERNAME,
    FakeAirflow,
    asset_row,
    moment,
    run_row,
    serving,
    task_row,
)
from tests.unit.conftest import NOW, FakeClock
from tests.unit.reconciler_support import INTERVAL, Scene, ago, play, run_ids, scene

FAR = ("9999-12-31T23:59:59.999999-14:00", "0001-01-01T00:00:00+14:00")
TOO_LONG = "x" * (MAX_ANSWER + 1)


@pytest.fixture
def fake(clock: FakeClock) -> Iterator[FakeAirflow]:
    with serving(FakeAirflow(clock)) as fake:
        yield fake


@pytest.fixture
def other(clock: FakeClock) -> Iterator[FakeAirflow]:
    with serving(FakeAirflow(clock)) as other:
        yield other


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


# What is read from outside


@pytest.mark.parametrize(
    "text", ["[" * 100_000, deep(MAX_DEPTH + 1), deep(5_000), "1" * 5_000, '{"a":' * 100_000]
)
def test_json_that_is_too_much_is_a_value_error_and_nothing_else(text: str) -> None:
    for given_as in (text, text.encode()):
        with pytest.raises(ValueError, match=r"deep|digits|values|column"):
            loads(given_as)


def test_json_that_is_too_deep_is_told_from_what_is_none() -> None:
    assert not is_deeper(loads(deep(MAX_DEPTH)), MAX_DEPTH)
    with pytest.raises(TooMuch, match="levels deep"):
        loads(deep(MAX_DEPTH + 1))
    with pytest.raises(json.JSONDecodeError):
        loads("[" * 10)


@pytest.mark.parametrize(
    "far", [*FAR, "9999-01-01T00:00:00Z", "1899-12-31T23:59:59Z", "1900-01-01T00:00:00+14:00"]
)
def test_a_moment_at_the_calendars_ends_is_refused_with_the_reason(far: str) -> None:
    with pytest.raises(ValueError, match=rf"not within the years {YEARS.start} to {YEARS.stop - 1}"):
        moment_from(far)
    for build, row in (
        (from_airflow.run_event, run_row("r", NOW)),
        (from_airflow.task_event, task_row(1, NOW)),
    ):
        with pytest.raises(EventError, match="start_date: "):
            build("local", {**row, "start_date": far}, NOW)


@given(
    st.datetimes(timezones=st.integers(-840, 840).map(lambda at: timezone(timedelta(minutes=at))))
    | st.sampled_from(("1900-01-01T00:00:00+14:00", "9998-12-31T23:59:00-14:00")).map(datetime.fromisoformat)
)
def test_a_moment_that_is_let_in_is_let_in_again_as_it_is_stored(moment: datetime) -> None:
    """In the first and the last year a zone may have another year than UTC."""
    with suppress(ValueError):
        kept = moment_from(moment.isoformat())
        assert moment_from(stamp(kept)) == kept


@pytest.mark.parametrize("value", [5, True, "", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00", [], "nan"])
def test_what_is_no_moment_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is no moment"):
        moment_from(value)


@pytest.mark.parametrize(
    "wrong",
    [{"try_number": MAX_TRIES + 1}, {"map_index": 10**30}, {"id": "\ud800"}, {"scheduled_when": FAR[0]}],
)
def test_a_task_whose_row_no_database_takes_is_not_looked_for(wrong: dict[str, Any]) -> None:
    with pytest.raises(EventError):
        TriedTask.from_row("local", {**task_row(1, NOW), **wrong})


def test_a_uuid_from_beyond_the_calendar_was_made_at_no_time() -> None:
    task = TriedTask.from_row("local", {**task_row(1, NOW), "id": "ffffffff-ffff-7000-8000-000000000001"})
    assert not task.is_made_anew


@pytest.mark.parametrize(
    "date", ["Fri, 31 Dec 9999 23:59:59 -1400", "Sun, 01 Jan 2090 00:00:00 GMT", "x", ""]
)
def test_a_wrong_date_of_an_answer_moves_no_watermark_far_ahead(
    fake: FakeAirflow, database: Database, date: str
) -> None:
    body = {"total_entries": 0, "dag_runs": [], "task_instances": [], "asset_events": []}
    fake.failures = [("/api/v2", PlainTextResponse(json.dumps(body), 200, {"Date": date})) for _ in range(10)]

    async def act(on: Scene) -> None:
        await on.reconciler.poll()
        assert all(mark <= NOW + MAX_AHEAD for mark in on.reconciler.status.marks.values())

    play(fake, database, act)


# One Airflow's trouble


@pytest.mark.parametrize("body", ["[" * 100_000, "{", f'{{"detail": {deep(600)}}}'])
@pytest.mark.parametrize("status", [200, 500])
def test_whatever_is_answered_is_a_failed_poll_and_the_next_is_as_ever(
    fake: FakeAirflow, database: Database, body: str, status: int
) -> None:
    fake.runs = [run_row("seen", ago(minutes=1))]
    is_evil = True

    def evil(request: Request) -> None:
        if is_evil:
            fake.failures = [(request.url.path, PlainTextResponse(body, status))]

    async def act(on: Scene) -> None:
        nonlocal is_evil
        fake.before_answer = evil
        assert await on.reconciler.poll() > 0
        assert on.reconciler.status.last_error
        assert on.count("windsock_reconcile_polls_total", result="ok") == 0
        is_evil = False
        fake.clock.forward(300)
        assert await on.reconciler.poll() == INTERVAL
        assert set(on.logged()) == run_ids(fake, "seen")

    play(fake, database, act)


def test_a_mistake_of_the_monitors_own_is_a_failed_poll_of_this_part(
    fake: FakeAirflow, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """A snapshot stands for what nobody has thought of."""
    fake.runs = [run_row("seen", ago(minutes=1))]

    class Wrong:
        name = "wrong"
        every = 0 * (NOW - NOW)

        async def is_wanted(self) -> bool:
            return False

        async def compare(self) -> None:
            raise OverflowError("date value out of range")

    async def story() -> None:
        async with scene(fake, database, snapshots=[Wrong()]) as on:
            for polls in (1, 2, 3):
                assert await on.reconciler.poll() == INTERVAL
                assert set(on.logged()) == run_ids(fake, "seen")
                assert on.count("windsock_reconcile_defects_total", part="wrong") == polls
                assert on.count("windsock_reconcile_polls_total", result="defect") == polls
            assert on.reconciler.status.is_defect
            assert "wrong: the monitor failed" in str(on.trouble())
            assert on.reconciler.status.silent_since is None

    asyncio.run(story())
    assert caplog.text.count("Traceback") == 1


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**30, -1, 2**31, 2**63, 10**400]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        [*FAR, "2026-02-30T00:00:00Z", "nan", "\ud800", "a\x00b", "..", "a/b", "%00", "x" * 5_000]
    ),
    st.sampled_from([[], {}, [{}], [None], {"a": {"b": [1]}}, [[["a"]]], loads(deep(100)), loads(deep(450))]),
)
KINDS = {
    "dag_runs": {**run_row("r", ago(minutes=1)), "triggered_by": "ui", "logical_date": moment(NOW)},
    "task_instances": {**task_row(1, ago(minutes=1)), "try_number": 2, "scheduled_when": moment(NOW)},
    "asset_events": {**asset_row(1, ago(minutes=1)), "partition_key": None},
    "import_errors": {
        "import_error_id": 1,
        "timestamp": moment(NOW),
        "filename": "f.py",
        "bundle_name": "b",
        "stack_trace": "x",
    },
    "dags": {
        "dag_id": "etl",
        "is_paused": False,
        "tags": [{"name": "t"}],
        "owners": ["o"],
        "is_stale": False,
        "timetable_summary": "@daily",
        "next_dagrun_run_after": moment(NOW),
    },
    "backfills": {
        "id": 1,
        "dag_id": "etl",
        "from_date": moment(NOW),
        "to_date": moment(NOW),
        "created_at": moment(NOW),
        "completed_at": moment(NOW),
    },
}
PLACES = {
    "dagRuns": "dag_runs",
    "taskInstances": "task_instances",
    "tries": "task_instances",
    "events": "asset_events",
    "importErrors": "import_errors",
    "dags": "dags",
    "backfills": "backfills",
}
FIELDS = sorted((kind, field) for kind, row in KINDS.items() for field in row if not field.startswith("_"))


def lying(kind: str, rows: list[dict[str, Any]], page: dict[str, Any]) -> Any:
    """Answers each listing with a row as Airflow has it, and that of `kind` with these."""

    def answer(request: Request) -> Response | None:
        found = PLACES.get(request.url.path.rsplit("/", 1)[-1])
        if found is None:
            return None
        told = rows if found == kind else [KINDS[found]]
        plain = [{name: value for name, value in row.items() if not name.startswith("_")} for row in told]
        body = {found: plain, "total_entries": len(plain), "next_cursor": None}
        return PlainTextResponse(json.dumps(body | (page if found == kind else {})))

    return answer


PAGES = st.fixed_dictionaries(
    {}, optional={"total_entries": VALUES, "next_cursor": st.sampled_from([None, 5, "", {}])}
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_rows_of_every_wrong_kind_end_nothing(
    other: FakeAirflow, fake: FakeAirflow, database: Database, data: st.DataObject
) -> None:
    """One Airflow lies in a field of a listing; the comparison with it goes on, without a defect, and so does
    that with the other."""
    kind, field = data.draw(st.sampled_from(FIELDS))
    rows = [{**KINDS[kind], field: value} for value in data.draw(st.lists(VALUES, min_size=1, max_size=8))]
    answer = lying(kind, rows, data.draw(PAGES))

    def lie(request: Request) -> None:
        response = answer(request)
        fake.failures = [(request.url.path, response)] if response else []

    fake.before_answer = lie

    async def story() -> None:
        other.runs = [run_row(uuid4().hex, ago(minutes=1))]
        async with scene(fake, database) as lied, scene(other, database) as on:
            api = AirflowApi("local", fake.url, USERNAME, PASSWORD, 10, fake.clock)
            lied.reconciler._snapshots = snapshots(api, database, lied.ingest, lied.metrics, fake.clock)
            assert await lied.reconciler.poll() >= 0
            assert not lied.reconciler.status.is_defect, lied.reconciler.status.last_error
            assert await on.reconciler.poll() == INTERVAL
            assert run_ids(other, other.runs[0]["dag_run_id"]) <= set(on.logged())
            assert on.trouble() is None
            await api.close()

    asyncio.run(story())


# A row that is more than is read


@pytest.mark.parametrize("cursors", [True, False])
@pytest.mark.parametrize("big", [[0], [11], [3, 4]])
def test_a_row_that_is_too_much_by_itself_hides_no_other(
    fake: FakeAirflow, cursors: bool, big: list[int]
) -> None:
    fake.cursors = cursors
    fake.runs = [run_row(f"manual__{number}", NOW) for number in range(12)]
    for number in big:
        fake.runs[number]["conf"] = {"long": TOO_LONG}

    async def story() -> None:
        api = AirflowApi("local", fake.url, USERNAME, PASSWORD, 30, fake.clock)
        told: list[str] = []
        api.passed_over.counted = told.append
        pages = [page async for page in api.runs_updated(NOW)]
        await api.close()
        names = [row["dag_run_id"] for page in pages for row in page.rows]
        assert names == [f"manual__{number}" for number in range(12) if number not in big]
        assert pages[-1].passed_over == len(big) == len(told)
        assert set(told) == {"dag_runs"}
        assert api.passed_over.lately(NOW)["dag_runs"].offset == big[-1]

    asyncio.run(story())


def test_a_listing_of_such_rows_alone_is_given_up_on(
    fake: FakeAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "MAX_PASSED_OVER", 2)  # fifty take half a minute
    fake.runs = [{**run_row(f"manual__{number}", NOW), "conf": TOO_LONG} for number in range(3)]

    async def story() -> None:
        api = AirflowApi("local", fake.url, USERNAME, PASSWORD, 60, fake.clock)
        try:
            with pytest.raises(AirflowAnswerTooLong):
                [page async for page in api.runs_updated(NOW)]
        finally:
            await api.close()

    asyncio.run(story())


def test_the_log_has_the_others_and_the_metrics_the_one(fake: FakeAirflow, database: Database) -> None:
    fake.runs = [run_row("lost", ago(minutes=1)), {**run_row("big", ago(minutes=1)), "conf": TOO_LONG}]
    fake.assets = [{**asset_row(1, ago(minutes=1), ["r"]), "extra": {"deep": loads(deep(499))}}]
    fake.assets += [asset_row(2, ago(minutes=1), ["r"])]

    async def act(on: Scene) -> None:
        await on.reconciler.poll()
        assert {*run_ids(fake, "lost"), "asset_event:2"} <= set(on.logged())
        assert not run_ids(fake, "big") & set(on.logged())
        assert on.trouble() is None

    play(fake, database, act)


def test_what_a_list_lacks_for_its_length_is_neither_mended_nor_gone(
    fake: FakeAirflow, database: Database
) -> None:
    error = {
        "import_error_id": 1,
        "timestamp": moment(ago(minutes=1)),
        "filename": "f.py",
        "stack_trace": "boom",
    }
    fake.import_errors = [{**error, "bundle_name": "b"}]
    fake.dag_rows = [{**KINDS["dags"], "dag_id": name} for name in ("etl", "other")]

    async def act(on: Scene) -> None:
        api = AirflowApi("local", fake.url, USERNAME, PASSWORD, 30, fake.clock)
        known = (api, database, on.ingest, on.metrics, fake.clock)
        errors, dags = ImportErrors(*known), DagSnapshot(*known)
        await errors.compare()
        await dags.compare()
        before = on.logged()
        assert len(before) == 1
        fake.clock.forward(600)
        fake.import_errors[0]["stack_trace"] = TOO_LONG
        fake.dag_rows[0]["description"] = TOO_LONG
        await errors.compare()
        await dags.compare()
        assert on.logged() == before
        kept = database.read_now(lambda connection: load_dags(connection, "local"))
        assert {name: row["is_stale"] for name, row in kept.items()} == {"etl": False, "other": False}
        assert await api.readable_dags() == {"other"}
        await api.close()

    play(fake, database, act)
