"""Import errors and pauses, of which Airflow dates no change: told when they come, go and come again."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import pytest
from sqlalchemy.event import listen, remove
from starlette.responses import JSONResponse

from monitor.airflow.client import AirflowApi
from monitor.concurrency import WakeSignal
from monitor.database.engine import Database
from monitor.errors import AirflowUnreachable
from monitor.event_log import read
from monitor.event_log.ingest import Ingest, Wakeups
from monitor.event_log.projections import dags as dags_projection
from monitor.events.event import parse_event
from monitor.events.identity import import_error_id
from monitor.notifications import incidents
from monitor.observability.metrics import Metrics
from monitor.reconciler.dags import DagSnapshot
from monitor.reconciler.import_errors import ImportErrors
from monitor.reconciler.loop import Snapshot, snapshots
from monitor.reconciler.reporting import COMMIT_WAIT
from tests.sample import event, moment, run_event
from tests.unit.airflow_api_fake import PASSWORD, USERNAME, FakeAirflow, serving
from tests.unit.conftest import FakeClock
from tests.unit.notify_support import engine_of

TRACE = 'File "/dags/etl/broken.py"\nModuleNotFoundError: nothing_here\n'
PATH, ABSOLUTE = "etl/broken.py", "/dags/etl/broken.py"
ERROR = import_error_id(PATH, TRACE, "dags")
"""As REST's row is told."""
REPORTED = import_error_id(ABSOLUTE, TRACE)
"""As the listener's report is told."""
WAIT = COMMIT_WAIT.total_seconds()
Told = list[dict[str, Any]]


@dataclass
class Scene:
    """The snapshots at work, each comparison long after the one before."""

    errors: Snapshot
    pauses: Snapshot
    ingest: Ingest
    metrics: Metrics
    clock: FakeClock
    database: Database
    seen: int = 0

    async def told(self, snapshot: Snapshot, after: float = 2 * WAIT) -> Told:
        """What a comparison adds to the log."""
        self.clock.forward(after)
        await snapshot.compare()
        return self.news()

    def news(self) -> Told:
        page = self.database.read_now(lambda c: read.read_after(c, self.seen, 10_000))
        self.seen = page.upto
        return [json.loads(one.body) for one in page.events]

    async def report(self, filename: str = "/dags/etl/broken.py", trace: str = TRACE) -> list[bool]:
        """What the listener says of a file."""
        error_id = import_error_id(filename, trace)
        data = {"filename": filename, "bundle_name": None, "stacktrace": trace, "error_id": error_id}
        raw = event("airflow.dag.import_error", error_id, filename, moment(), data)
        taken = await self.ingest.take([parse_event(raw)])
        self.news()
        return taken

    def rejected(self) -> float:
        labels = {"result": "rejected", "reported_by": "reconciler"}
        return self.metrics.registry.get_sample_value("windsock_events_total", labels) or 0.0


@pytest.fixture
def fake(clock: FakeClock) -> Iterator[FakeAirflow]:
    with serving(FakeAirflow(clock)) as fake:
        yield fake


@asynccontextmanager
async def scene(fake: FakeAirflow, database: Database) -> AsyncIterator[Scene]:
    metrics, clock = Metrics(), fake.clock
    wakes = Wakeups(WakeSignal(), WakeSignal(), {"local": WakeSignal()})
    ingest = Ingest(database, engine_of().notify_all, wakes, metrics, clock)
    api = AirflowApi("local", fake.url, USERNAME, PASSWORD, 10, clock)
    errors, pauses, *_ = snapshots(api, database, ingest, metrics, clock)
    writer = asyncio.create_task(ingest.run())
    try:
        yield Scene(errors, pauses, ingest, metrics, clock, database)
    finally:
        writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writer
        await api.close()


def play(fake: FakeAirflow, database: Database, act: Callable[[Scene], Awaitable[None]]) -> None:
    async def story() -> None:
        async with scene(fake, database) as on:
            await act(on)

    asyncio.run(story())


def listed(filename: str | None = "etl/broken.py", trace: str = TRACE, **more: Any) -> dict[str, Any]:
    row = {"import_error_id": 1, "timestamp": moment(), "filename": filename, "bundle_name": "dags"}
    return {**row, "stack_trace": trace, **more}


def dag(dag_id: str, paused: bool, stale: bool = False) -> dict[str, Any]:
    return {"dag_id": dag_id, "is_paused": paused, "is_stale": stale}


def ids(told: Sequence[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in told]


def test_an_error_comes_goes_and_comes_again(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        for again in ("", ":2", ":3"):
            fake.import_errors = [listed()]
            (broken,) = await on.told(on.errors)
            assert (broken["id"], broken["type"]) == (ERROR + again, "airflow.dag.import_error")
            assert (broken["data"]["error_id"], broken["data"]["filename"]) == (ERROR, "etl/broken.py")
            assert await on.told(on.errors) == []
            fake.import_errors = []
            (mended,) = await on.told(on.errors)
            assert (mended["id"], mended["data"]["error_id"]) == (f"{ERROR}:mended{again}", ERROR)
            assert mended["type"] == "airflow.dag.import_error_mended"
            assert await on.told(on.errors) == []

    play(fake, database, act)


def test_what_the_listener_told_is_not_told_again(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        assert await on.report() == [True]
        assert await on.report() == [False]  # each parse of the file
        fake.import_errors = [listed()]
        assert await on.told(on.errors) == []
        fake.import_errors = []
        (mended,) = await on.told(on.errors)
        assert mended["data"] == {
            "filename": "etl/broken.py",
            "bundle_name": "dags",
            "error_id": REPORTED,
            "replaced_by": None,
            "reported_by": "reconciler",
        }
        assert await on.report() == [False]  # its id is known …
        fake.import_errors = [listed()]
        assert ids(await on.told(on.errors)) == [f"{REPORTED}:2"]  # … so only the list can tell

    play(fake, database, act)


def test_a_report_before_the_commit_is_not_taken_for_mended(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        await on.report()
        assert await on.told(on.errors, after=WAIT - 1) == []
        assert ids(await on.told(on.errors, after=1)) == [f"{REPORTED}:mended"]

    play(fake, database, act)


def test_what_rest_told_is_not_told_again_by_the_listener(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        fake.import_errors = [listed()]
        assert ids(await on.told(on.errors)) == [ERROR]
        assert await on.report() == [False]
        assert await on.report("/dags/other/broken.py") == [True], "another file with the same trace"
        assert await on.report(trace="NameError") == [True], "another error of the same file"

    play(fake, database, act)


def test_one_trace_in_two_files_is_two_errors(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        # One path within two bundles, and a file at the root whose path ends every other.
        places = [("one", "etl/broken.py"), ("two", "etl/broken.py"), ("three", "broken.py")]
        fake.import_errors = [
            listed(path, bundle_name=bundle, import_error_id=number)
            for number, (bundle, path) in enumerate(places)
        ]
        for bundle in ("one", "two"):
            assert await on.report(f"/opt/{bundle}/etl/broken.py") == [True]
        assert ids(await on.told(on.errors)) == [import_error_id("broken.py", TRACE, "three")]
        assert await on.told(on.errors) == []
        del fake.import_errors[1]
        (mended,) = await on.told(on.errors)
        assert (mended["data"]["bundle_name"], mended["data"]["filename"]) == ("two", "etl/broken.py")
        assert mended["data"]["error_id"] == import_error_id("/opt/two/etl/broken.py", TRACE)
        assert mended["data"]["replaced_by"] is None

    play(fake, database, act)


def test_incidents_have_the_names_that_rest_gives_the_files(fake: FakeAirflow, database: Database) -> None:
    def standing() -> list[tuple[str, str]]:
        found = database.read_now(lambda connection: incidents.page(connection, 10))
        return [(one.key.partition(":")[2], one.state) for one in reversed(found)]

    async def act(on: Scene) -> None:
        await on.report("/dags/a/dag.py", "NameError")
        await on.report("/dags/b/dag.py", "ZeroDivisionError")
        assert standing() == [("/dags/a/dag.py", "open"), ("/dags/b/dag.py", "open")]
        fake.import_errors = [
            listed("a/dag.py", "NameError", import_error_id=1),
            listed("b/dag.py", "ZeroDivisionError", import_error_id=2),
        ]
        assert await on.told(on.errors) == []
        assert standing() == [("dags:a/dag.py", "open"), ("dags:b/dag.py", "open")]
        await on.report("/dags/b/dag.py", "SyntaxError")
        fake.import_errors[1] = listed("b/dag.py", "SyntaxError", import_error_id=2)
        (mended,) = await on.told(on.errors)
        assert mended["data"]["replaced_by"] == import_error_id("/dags/b/dag.py", "SyntaxError")
        assert standing() == [("dags:a/dag.py", "open"), ("dags:b/dag.py", "open")]
        del fake.import_errors[1]
        await on.told(on.errors)
        assert standing() == [("dags:a/dag.py", "open"), ("dags:b/dag.py", "closed")]

    play(fake, database, act)


def test_an_answer_older_than_the_logs_last_word_brings_nothing_back(
    fake: FakeAirflow, database: Database
) -> None:
    async def act(on: Scene) -> None:
        fake.import_errors = [listed()]
        await on.told(on.errors)
        fake.import_errors = []
        assert ids(await on.told(on.errors)) == [f"{ERROR}:mended"]
        fake.import_errors = [listed()]  # as another monitor, that asked before, would still have it
        assert await on.told(on.errors, after=0) == []

    play(fake, database, act)


def test_another_error_in_the_same_file(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        await on.report()
        other = import_error_id(PATH, "SyntaxError", "dags")
        fake.import_errors = [
            listed(trace="SyntaxError"),
            listed("other/broken.py", "NameError", import_error_id=2),
        ]
        mended, broken, apart = await on.told(on.errors)
        assert (mended["data"]["error_id"], mended["data"]["replaced_by"]) == (REPORTED, other)
        assert (broken["id"], apart["subject"]) == (other, "other/broken.py")
        fake.import_errors = [listed("other/broken.py", "NameError", import_error_id=2)]
        (mended,) = await on.told(on.errors)
        assert (mended["data"]["error_id"], mended["data"]["replaced_by"]) == (other, None)

    play(fake, database, act)


def test_a_hidden_trace_makes_no_event_and_mends_nothing(
    fake: FakeAirflow, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    hidden = "REDACTED - you do not have read permission on all DAGs in the file"

    async def act(on: Scene) -> None:
        await on.report()
        fake.import_errors = [listed(trace=hidden), listed("never/seen.py", hidden, import_error_id=2)]
        assert await on.told(on.errors) == []
        assert await on.told(on.errors) == []
        assert on.rejected() == 2
        assert len([one for one in caplog.messages if "may not read every DAG" in one]) == 2
        fake.import_errors = []
        assert ids(await on.told(on.errors)) == [f"{REPORTED}:mended"]

    play(fake, database, act)


def test_a_row_that_makes_no_sense_holds_up_no_other(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        fake.import_errors = [listed(None), listed("b.py", timestamp="soon"), listed()]
        for number, row in enumerate(fake.import_errors):
            row["import_error_id"] = number
        assert ids(await on.told(on.errors)) == [ERROR]
        fake.dag_rows = [dag("a", False), {"dag_id": "b", "is_paused": None}]
        await on.told(on.pauses)
        fake.dag_rows = [dag("a", True), {"dag_id": "b", "is_paused": True}]
        assert [one["subject"] for one in await on.told(on.pauses)] == ["a"]
        assert on.rejected() == 3

    play(fake, database, act)


def test_who_may_not_list_import_errors_is_told_so_once(
    fake: FakeAirflow, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(on: Scene) -> None:
        await on.report()
        fake.failures = [("importErrors", JSONResponse({"detail": "Forbidden"}, 403)) for _ in range(3)]
        for _ in range(3):
            assert await on.told(on.errors) == []
        assert len([one for one in caplog.messages if "give this user a role" in one]) == 1
        fake.import_errors = [listed()]
        assert await on.told(on.errors) == []

    play(fake, database, act)


def test_half_a_listing_mends_nothing(fake: FakeAirflow, database: Database) -> None:
    many = [listed(f"{number}.py", import_error_id=number) for number in range(150)]

    async def act(on: Scene) -> None:
        fake.import_errors = many
        assert len(await on.told(on.errors)) == 150
        fake.before_answer = lambda request: fake.failures.extend(
            [("importErrors", JSONResponse({}, 500))] if "offset=0" not in str(request.url) else []
        )
        with pytest.raises(AirflowUnreachable):
            await on.told(on.errors)
        assert on.news() == []
        fake.before_answer = lambda _request: None
        fake.failures.clear()
        fake.import_errors = many[1:]
        assert len(await on.told(on.errors)) == 1

    play(fake, database, act)


def test_pauses_are_told_each_time_but_for_the_first_sight(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        fake.dag_rows = [dag("etl", False), dag("off", True)]
        assert await on.told(on.pauses) == []
        for again in ("", ":2", ":3"):
            for state in ("paused", "unpaused"):
                fake.dag_rows = [dag("etl", state == "paused"), dag("off", True), dag(f"new{again}", True)]
                (told,) = await on.told(on.pauses)
                assert (told["type"], told["subject"]) == (f"airflow.dag.{state}", "etl")
                assert told["id"].endswith(f":{state}{again}")
                assert told["data"] == {"dag_id": "etl", "state": state, "reported_by": "reconciler"}
                assert await on.told(on.pauses) == []

    play(fake, database, act)


def test_a_dag_that_disappears_is_no_pause(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        fake.dag_rows = [dag("etl", False), dag("gone", False)]
        await on.told(on.pauses)
        fake.dag_rows = [dag("etl", True, stale=True)]
        assert await on.told(on.pauses) == []
        fake.dag_rows = [dag("etl", True), dag("gone", False)]
        assert [one["subject"] for one in await on.told(on.pauses)] == ["etl"]

    play(fake, database, act)


def test_a_pause_is_filtered_by_its_dag_an_import_error_is_for_those_who_read_all(
    fake: FakeAirflow, database: Database
) -> None:
    async def act(on: Scene) -> None:
        fake.dag_rows, fake.import_errors = [dag("etl", False)], [listed()]
        await on.told(on.pauses)
        fake.dag_rows = [dag("etl", True)]
        await on.told(on.pauses)
        await on.told(on.errors)

        def visible(*dags: str) -> list[str]:
            rights = frozenset(("local", one) for one in dags)
            page = database.read_now(lambda c: read.read_after(c, 0, 10, allowed_dags=rights))
            return [one.type for one in page.events]

        assert (visible("etl"), visible("other")) == (["airflow.dag.paused"], [])

    play(fake, database, act)


def test_each_listing_costs_a_request_a_hundred_rows(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        fake.dag_rows = [dag(str(number), False) for number in range(250)]
        await on.told(on.pauses)
        assert len(fake.requests("/dags")) == 3
        assert ImportErrors.every < DagSnapshot.every

    play(fake, database, act)


def listed_dag(dag_id: str, **more: Any) -> dict[str, Any]:
    """A row of /dags, as Airflow 3.0 to 3.3 have it."""
    return {
        **dag(dag_id, False),
        "tags": [{"name": "notify:team", "dag_id": dag_id}],
        "owners": ["anna", " bert"],  # as 3.0 splits it
        "timetable_summary": "0 6 * * *",
        "next_dagrun_run_after": "2026-11-23T06:00:00Z",
        **more,
    }


def known(database: Database, dag_id: str) -> dict[str, Any]:
    row = database.read_now(lambda connection: dags_projection.dag(connection, "local", dag_id))
    assert row is not None
    told = ("deployment", "dag_id", "is_paused", "times_paused", "times_unpaused", "last_seq")
    return {name: value for name, value in row.items() if name not in told}


def test_whose_a_dag_is_and_when_it_runs_next_is_kept(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        fake.dag_rows = [listed_dag("etl"), dag("bare", False)]
        assert await on.told(on.pauses) == []
        first = {
            "tags": ["notify:team"],
            "owners": ["anna", "bert"],
            "schedule": "0 6 * * *",
            "next_run_after": datetime(2026, 11, 23, 6, tzinfo=timezone.utc),
            "is_stale": False,
            "is_partitioned": False,
            "seen_at": None,  # as it was when Windsock came
        }
        assert known(database, "etl") == first
        nothing: dict[str, Any] = {"tags": [], "owners": [], "schedule": None, "next_run_after": None}
        nothing |= {"is_partitioned": False}
        assert known(database, "bare") == nothing | {"is_stale": False, "seen_at": None}
        new = listed_dag("new", timetable_partitioned=True)
        fake.dag_rows = [listed_dag("etl", tags=[], owners=None), new]
        await on.told(on.pauses)
        assert known(database, "etl") == first | {"tags": [], "owners": []}
        assert known(database, "new") == first | {"seen_at": on.clock.now, "is_partitioned": True}
        assert database.read_now(lambda c: dags_projection.find_partitioned_dags(c, "local")) == {"new"}
        assert known(database, "bare") == nothing | {"is_stale": True, "seen_at": on.clock.now}

    play(fake, database, act)


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"next_dagrun_run_after": "2026-11-24T06:00:00+00:00"}, {"next_run_after"}),
        ({"timetable_summary": None, "next_dagrun_run_after": None}, {"schedule", "next_run_after"}),
        ({"is_stale": True}, {"is_stale"}),
        ({"is_paused": True}, set()),
    ],
)
def test_since_when_a_dag_is_scheduled_so_is_known(
    fake: FakeAirflow, database: Database, change: dict[str, Any], kept: set[str]
) -> None:
    async def act(on: Scene) -> None:
        fake.dag_rows = [listed_dag("etl")]
        await on.told(on.pauses)
        before = known(database, "etl")
        fake.dag_rows = [listed_dag("etl", **change)]
        await on.told(on.pauses)
        after, seen_at = known(database, "etl"), on.clock.now
        assert {name for name in after if after[name] != before[name]} == kept | {"seen_at"}
        assert after["seen_at"] == seen_at
        await on.told(on.pauses)
        assert known(database, "etl") == after

    play(fake, database, act)


def test_a_row_that_cannot_be_read_changes_nothing(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        fake.dag_rows = [listed_dag("etl")]
        await on.told(on.pauses)
        before = known(database, "etl")
        for wrong in ({"next_dagrun_run_after": "soon"}, {"tags": "all"}, {"is_paused": None}):
            fake.dag_rows = [listed_dag("etl", **wrong)]
            assert await on.told(on.pauses) == []
            assert known(database, "etl") == before

    play(fake, database, act)


def test_a_thousand_dags_cost_a_write_only_where_one_of_them_changes(
    fake: FakeAirflow, database: Database
) -> None:
    async def act(on: Scene) -> None:
        fake.dag_rows = [listed_dag(f"dag_{number}") for number in range(1_000)]
        await on.told(on.pauses)
        statements: list[str] = []

        def count(_c: Any, _cursor: Any, statement: str, *_more: Any) -> None:
            statements.append(statement.split()[0])

        listen(database.engine, "before_cursor_execute", count)
        await on.told(on.pauses)
        assert not {"INSERT", "UPDATE", "DELETE"} & set(statements)
        fake.dag_rows[7] = listed_dag("dag_7", tags=[])
        await on.told(on.pauses)
        assert statements.count("UPDATE") == 1
        remove(database.engine, "before_cursor_execute", count)

    play(fake, database, act)


def test_a_dag_that_nobody_knows_is_looked_for_early_and_once(fake: FakeAirflow, database: Database) -> None:
    async def act(on: Scene) -> None:
        assert not await on.pauses.is_wanted()  # it is due anyway
        fake.dag_rows = [listed_dag("etl")]
        await on.told(on.pauses)
        await on.ingest.take([parse_event(run_event("running", "etl"))])
        assert not await on.pauses.is_wanted()
        await on.ingest.take([parse_event(run_event("running", "new"))])
        assert await on.pauses.is_wanted()
        await on.ingest.take([parse_event(run_event("failed", "new"))])
        assert not await on.pauses.is_wanted()  # the list does not show it: it is not asked for again
        assert not await on.errors.is_wanted()

    play(fake, database, act)


@pytest.mark.parametrize("is_deleted", [False, True], ids=["may read nothing any more", "all were deleted"])
def test_an_empty_listing_is_no_word_that_all_is_gone(
    fake: FakeAirflow, database: Database, is_deleted: bool
) -> None:
    """Airflow answers 200 and an empty list to a user whose role was taken away."""

    async def act(on: Scene) -> None:
        fake.dag_rows, fake.import_errors = [listed_dag("etl")], [listed()]
        assert await on.told(on.pauses) == []
        assert len(await on.told(on.errors)) == 1
        fake.dag_rows, fake.import_errors = [], []
        fake.deleted_dags = {"etl"} if is_deleted else set()
        await on.told(on.pauses)
        assert known(database, "etl")["is_stale"] is is_deleted
        mended = [one["type"] for one in await on.told(on.errors)]
        assert mended == (["airflow.dag.import_error_mended"] if is_deleted else [])

    play(fake, database, act)
