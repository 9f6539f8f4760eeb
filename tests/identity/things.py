"""Things that Airflow holds, made by hypothesis, and how a hook and its REST API show each of them."""

import json
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

from hypothesis import strategies as st

from airflow_windsock import events as listener
from monitor.events import from_airflow
from monitor.events.event import Event, parse_event

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)
NANOSECONDS = 1_795_348_800_123_456_789
SOURCE = "/airflow/local"

# As long and as odd as Airflow's columns take: any character but NUL and halves of surrogate pairs, which no
# database takes either. A few are likely to meet, and so to show where two names are taken for one.
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=60)
NAMES |= st.sampled_from(["a", "b", "a/b", "b/a", '"', "\\", "a\u2028", "größe", "😀", "a,b", '"],["'])
ZONES = st.sampled_from(
    [timezone.utc, timezone(timedelta(hours=9)), timezone(-timedelta(hours=3, minutes=30))]
)
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1))  # noqa: DTZ001 (a zone is put on later)
MOMENTS |= MOMENTS.map(lambda moment: moment.replace(microsecond=0))


@dataclass(frozen=True)
class Run:
    dag_id: str
    run_id: str
    start: datetime | None
    queued: datetime | None
    state: str

    @property
    def key(self) -> tuple[object, ...]:
        """What makes it another occurrence, in Airflow's own terms."""
        return self.dag_id, self.run_id, self.start or self.queued, self.state

    def from_hook(self, zone: timezone | None) -> Event:
        run = SimpleNamespace(
            dag_id=self.dag_id,
            run_id=self.run_id,
            run_type="manual",
            start_date=shown(self.start, zone),
            queued_at=shown(self.queued, zone),
        )
        return told_by_listener(f"on_dag_run_{self.state}", run, "task_failure")

    def from_rest(self) -> Event | None:
        row = {"dag_id": self.dag_id, "dag_run_id": self.run_id, "state": self.state, "run_type": "manual"}
        return from_airflow.run_event(
            "local", row | {"start_date": iso(self.start), "queued_at": iso(self.queued)}, NOW
        )


@dataclass(frozen=True)
class Task:
    ti_id: uuid.UUID
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    start: datetime | None
    state: str

    @property
    def key(self) -> tuple[object, ...]:
        return self.ti_id, self.state

    def from_hook(self, zone: timezone | None) -> Event:
        names = ("dag_id", "run_id", "task_id", "map_index", "try_number", "state")
        ti = SimpleNamespace(
            id=self.ti_id,
            # a task process dates its start itself, a tenth of a second beside the database's
            start_date=shown(self.start and self.start + timedelta(milliseconds=104), zone),
            end_date=None,
            **{name: getattr(self, name) for name in names},
        )
        extra = ("no luck",) if self.state == "failed" else ()
        return told_by_listener(f"on_task_instance_{self.state}", "running", ti, *extra)

    def from_rest(self) -> Event | None:
        names = ("dag_id", "task_id", "map_index", "try_number", "state")
        row = {name: getattr(self, name) for name in names} | {"id": str(self.ti_id), "max_tries": 0}
        return from_airflow.task_event(
            "local", row | {"dag_run_id": self.run_id, "start_date": iso(self.start)}, NOW
        )


@dataclass(frozen=True)
class Broken:
    """A file that cannot be imported. Its trace names addresses that are others at each parse."""

    bundle: str
    folder: str
    name: str
    trace: str
    address: int

    @property
    def key(self) -> tuple[object, ...]:
        return self.path, self.trace

    @property
    def path(self) -> str:
        return f"/{self.bundle}/{self.folder}{self.name}"

    def parsed(self, address: int) -> str:
        return f"{self.trace}\n<Hook at {address:#x}>, PID: {address}"

    def from_hook(self, _zone: timezone | None) -> Event:
        return told_by_listener("on_existing_dag_import_error", self.path, self.parsed(self.address))

    def from_rest(self) -> Event | None:
        row = {
            "filename": self.folder + self.name,
            "bundle_name": self.bundle,
            "timestamp": "2026-11-22T12:00:00Z",
        }
        return from_airflow.import_error_event(
            "local", row | {"stack_trace": self.parsed(self.address + 4096)}, NOW
        )


RUNS = st.builds(
    Run,
    NAMES,
    NAMES,
    MOMENTS | st.none(),
    MOMENTS | st.none(),
    st.sampled_from(["running", "success", "failed"]),
)
TASKS = st.builds(
    Task,
    st.uuids(),
    NAMES,
    NAMES,
    NAMES,
    st.integers(-1, 2**31 - 1),
    st.integers(0, 2**31 - 1),
    MOMENTS | st.none(),
    st.sampled_from(["running", "success", "failed", "skipped"]),
)
BASE_NAMES = NAMES.map(lambda name: name.replace("/", "_"))
BROKEN = st.builds(
    Broken, BASE_NAMES, st.sampled_from(["", "etl/", "a/b/"]), BASE_NAMES, NAMES, st.integers(16, 2**40)
)
Thing = Run | Task | Broken
THINGS: st.SearchStrategy[Thing] = RUNS | TASKS | BROKEN


def shown(moment: datetime | None, zone: timezone | None) -> datetime | None:
    """A moment in UTC as a hook's object may have it: in any zone, or in none."""
    if moment is None or zone is None:
        return moment
    return moment.replace(tzinfo=timezone.utc).astimezone(zone)


def iso(moment: datetime | None) -> str | None:
    """A moment as Airflow's REST API writes it: in UTC, microseconds only where there are any."""
    return moment.isoformat() + "Z" if moment else None


def told_by_listener(hook: str, *objects: Any) -> Event:
    """From a hook's call to what arrives at the monitor: kept on disk, completed by the drainer, read."""
    kept = listener.serialize(listener.report(hook, SOURCE, *objects))
    return parse_event(json.loads(listener.complete_event(kept, NANOSECONDS)))
