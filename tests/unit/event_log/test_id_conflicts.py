"""Whoever takes the id of another thing's event beforehand hides nothing; what is the same is told once."""

import asyncio
import json
from typing import Any

import pytest

from monitor.concurrency import WakeSignal, end
from monitor.database.engine import Database
from monitor.event_log import append as log
from monitor.event_log import read
from monitor.event_log.ingest import Ingest, Wakeups
from monitor.events.event import Event, parse_event
from monitor.events.reports import Reporter, accept_report
from monitor.observability.metrics import Metrics
from monitor.rules.model import Config
from tests.sample import asset_event, event, moment, run_event, task_event
from tests.unit.conftest import FakeClock
from tests.unit.notify_support import Town

TI = "00000000-0000-7000-8000-000000000001"
TRUE = task_event("failed", ti_id=TI, map_index=3)
REPORTER = Reporter(frozenset(("local",)))
FAILURES = ["airflow.task_instance.failed", "airflow.dag_run.failed"]


class Intake:
    """What is reported, through ingest's own door."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        rule = {
            "name": "r",
            "to": ["ops@example.com"],
            "notify_on": ["every_failure"],
            "match": {"type": FAILURES},
        }
        self.clock, self.database, self.metrics = clock, database, Metrics()
        self.town = Town(database, Config.model_validate({"rules": [rule]}), clock)

    def take(self, *raws: dict[str, Any]) -> list[bool]:
        """Whether each was new."""
        return asyncio.run(self._take([accept_report(raw, REPORTER, self.clock()) for raw in raws]))

    def put(self, raw: dict[str, Any]) -> list[bool]:
        """As an earlier version took it, or as the reconciler tells it."""
        return asyncio.run(self._take([parse_event(raw)]))

    async def _take(self, events: list[Event]) -> list[bool]:
        wakes = Wakeups(WakeSignal(), WakeSignal(), {"local": WakeSignal()})
        ingest = Ingest(self.database, self.town.engine.notify_all, wakes, self.metrics, self.clock)
        writer = asyncio.create_task(ingest.run())
        try:
            return await ingest.take(events)
        finally:
            await end([writer])

    def lacking(self, raw: dict[str, Any]) -> set[str]:
        return self.database.read_now(lambda c: log.lacking(c, [parse_event(raw)]))

    def logged(self) -> list[Any]:
        page = self.database.read_now(lambda c: read.read_after(c, 0, 100))
        return [json.loads(one.body) for one in page.events]

    @property
    def conflicts(self) -> float:
        return float(self.metrics.id_conflicts.labels("local")._value.get())


@pytest.fixture
def intake(database: Database, clock: FakeClock) -> Intake:
    clock.forward(60)
    return Intake(database, clock)


@pytest.mark.parametrize(
    "forged",
    [
        task_event("failed", ti_id=TI, map_index=3, dag_id="other"),
        task_event("failed", ti_id=TI, map_index=3, run_id="other"),
        task_event("failed", ti_id=TI, map_index=3, task_id="other"),
        task_event("failed", ti_id=TI, map_index=4),
        task_event("failed", ti_id=TI),
    ],
    ids=["dag", "run", "task", "index", "unmapped"],
)
def test_the_true_event_is_logged_and_told_beside_the_forged(intake: Intake, forged: dict[str, Any]) -> None:
    assert intake.take(forged) == [True]
    assert intake.lacking(TRUE) == {TRUE["id"]}
    intake.town.mail()

    assert intake.take(TRUE) == [True]
    assert intake.town.mail() == ["failure r ops@example.com 1"]

    first, second = intake.logged()
    assert (first["id"], first["data"]) == (TRUE["id"], forged["data"])
    assert second["id"].startswith(f"{TRUE['id']}:")
    assert second["data"] == TRUE["data"]
    assert intake.lacking(TRUE) == set()
    assert intake.take(TRUE, forged) == [False, False]
    assert intake.conflicts == 1


def test_both_in_one_batch(intake: Intake) -> None:
    forged = [task_event("failed", ti_id=TI, dag_id=name) for name in ("x", "y")]
    assert intake.take(*forged, TRUE, TRUE) == [True, True, True, False]
    assert [one["data"]["dag_id"] for one in intake.logged()] == ["x", "y", "etl"]


def test_nobody_hides_a_run_as_a_test(intake: Intake) -> None:
    assert intake.take(run_event("failed", run_type="test")) == [True]
    assert intake.town.mail() == []
    assert intake.lacking(run_event("failed", run_type="scheduled")) == {run_event("failed")["id"]}
    assert intake.take(run_event("failed", run_type="scheduled")) == [True]
    assert intake.town.mail() == ["failure r ops@example.com 1"]
    assert intake.take(run_event("failed", run_type="scheduled")) == [False]


@pytest.mark.parametrize("true", [run_event("failed"), TRUE, asset_event(7)], ids=["run", "task", "asset"])
def test_an_id_that_an_earlier_version_took_for_another_type_hides_nothing(
    intake: Intake, true: dict[str, Any]
) -> None:
    data = {"filename": "/dags/x.py", "bundle_name": None, "stacktrace": "boom", "error_id": true["id"]}
    assert intake.put(event("airflow.dag.import_error", true["id"], "/dags/x.py", moment(), data)) == [True]
    assert intake.lacking(true) == {true["id"]}
    assert intake.put(true) == [True]
    assert intake.put(true) == [False]
    assert intake.lacking(true) == set()


RECONCILED = {"reported_by": "reconciler"}


def also(raw: dict[str, Any], **data: Any) -> dict[str, Any]:
    """The same event, told otherwise."""
    return {**raw, "data": {**raw["data"], **data}}


@pytest.mark.parametrize(
    ("told", "again"),
    [
        (TRUE, TRUE),
        (TRUE, also(TRUE, end_date=moment(5.2), hostname=None, operator=None, **RECONCILED)),
        # Which try it is: Airflow counts on without another UUID where a try failed while it was queued.
        *(
            (task_event(state, ti_id=TI), task_event(state, ti_id=TI, try_number=2))
            for state in ("running", "up_for_retry", "failed", "success")
        ),
        # An expanded task keeps its UUID.
        (task_event("upstream_failed", ti_id=TI), task_event("upstream_failed", ti_id=TI, map_index=0)),
        (run_event("failed"), also(run_event("failed"), run_type="asset_triggered", **RECONCILED)),
        (run_event("failed"), also(run_event("failed"), end_date=moment(20), message="task_failure")),
        # An asset that is given another address.
        (asset_event(7), asset_event(7, uri="s3://moved")),
    ],
    ids=[
        *("sent twice", "reconciled", "running", "up_for_retry", "failed", "success"),
        *("expanded", "run type", "ended later", "asset moved"),
    ],
)
def test_what_airflow_changes_under_one_id_is_logged_once(
    intake: Intake, told: dict[str, Any], again: dict[str, Any]
) -> None:
    assert intake.lacking(told) == {told["id"]}
    assert intake.put(told) == [True]
    assert intake.lacking(again) == set()
    assert intake.put(again) == [False]
    assert (len(intake.logged()), intake.conflicts) == (1, 0)


CLEARED = "00000000-0000-7000-8000-000000000002"


@pytest.mark.parametrize(
    ("told", "again"),
    [
        (task_event("failed", ti_id=TI), task_event("failed", ti_id=CLEARED, try_number=2)),
        (run_event("failed"), run_event("failed", start=30)),
    ],
    ids=["a task that is cleared has another UUID", "a run that is deleted and made again has another start"],
)
def test_what_begins_anew_has_an_id_of_its_own(
    intake: Intake, told: dict[str, Any], again: dict[str, Any]
) -> None:
    assert intake.take(told, again) == [True, True]
    assert [one["id"] for one in intake.logged()] == [told["id"], again["id"]]
    assert intake.conflicts == 0
