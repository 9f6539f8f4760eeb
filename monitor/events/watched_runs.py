"""Events of runs that do not come, do not begin, or do not end."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from monitor.events.durations import spoken
from monitor.events.identity import digest, run_key, stamp
from monitor.events.model import Event
from monitor.events.watched import Bound, Told, clock_time, own_event


@dataclass(frozen=True)
class Run:
    """The run that a watch looks at."""

    dag_id: str
    run_id: str
    run_type: str | None


def missing_id(dag_id: str, expected_at: datetime) -> str:
    return f"run_missing:{digest(dag_id, stamp(expected_at))}"


def late_id(run: str) -> str:
    return f"run_late:{run}"


def stuck_id(run: str) -> str:
    return f"run_stuck:{run}"


def id_of(kind: str, dag_id: str, found: str) -> str | None:
    """The id of the event that told of a finding; None if it is not about a run."""
    match kind:
        case "windsock.run.missing":
            return missing_id(dag_id, datetime.fromisoformat(found.replace("Z", "+00:00")))
        case "windsock.run.late":
            return late_id(found)
        case "windsock.run.stuck":
            return stuck_id(found)
        case _:
            return None


def missing(told: Told, dag_id: str, expected_at: datetime, after: timedelta, schedule: str | None) -> Event:
    """No run exists that Airflow's own schedule wanted at this moment."""
    data = {
        "what": f"{dag_id} has no run for {clock_time(expected_at)}, {spoken(told.now - expected_at)} ago",
        "since": stamp(expected_at),
        "dag_id": dag_id,
        "expected_at": stamp(expected_at),
        "after_seconds": after.total_seconds(),
        "schedule": schedule,
    }
    return own_event(told, missing_id(dag_id, expected_at), "windsock.run.missing", dag_id, data)


def late(told: Told, run: Run, expected_at: datetime, queued_at: datetime | None, after: timedelta) -> Event:
    """A run exists, and is not begun."""
    waits = spoken(told.now - expected_at)
    data = {
        "what": f"a run of {run.dag_id}, due at {clock_time(expected_at)}, has waited {waits} for its start",
        "since": stamp(expected_at),
        **asdict(run),
        "expected_at": stamp(expected_at),
        "queued_at": stamp(queued_at) if queued_at else None,
        "after_seconds": after.total_seconds(),
    }
    key = run_key(run.dag_id, run.run_id, None, queued_at)
    return own_event(told, late_id(key), "windsock.run.late", f"{run.dag_id}/{run.run_id}", data)


def stuck(told: Told, run: Run, start_date: datetime, bound: Bound) -> Event:
    """A run is still running."""
    length = told.now - start_date
    data = {
        "what": f"a run of {run.dag_id} has been running for {spoken(length)}, {bound}",
        "since": stamp(start_date),
        **asdict(run),
        "start_date": stamp(start_date),
        "running_seconds": length.total_seconds(),
        **bound.data,
        "runs": bound.count,
    }
    key = run_key(run.dag_id, run.run_id, start_date, None)
    return own_event(told, stuck_id(key), "windsock.run.stuck", f"{run.dag_id}/{run.run_id}", data)
