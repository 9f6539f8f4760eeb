"""The events that the reconciler makes from the answers of Airflow's REST API.

Each event gets the id that the listener would give it (docs/events.md, "Identity"). Each event passes
through `parse_event`, as every event does, so one check serves all sources.

`pause_event`, `import_error_event` and `import_error_mended_event` describe changes of DAGs and of their
files. Airflow's listings show the present, so a change is a difference between two listings.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from monitor.errors import EventError
from monitor.events.data import (
    DELETED,
    MAX_COUNT,
    MAX_TRACE,
    RUN_STATES,
    SHOWN_VALUE,
    TASK_STATES,
    TEST,
    is_storable,
    moment_from,
)
from monitor.events.event import MAX_DEPTH, Event, check_depth, parse_event
from monitor.events.identity import (
    asset_event_id_of,
    backfill_id_of,
    earlier_try_id_of,
    import_error_id,
    import_error_mended_id,
    nth,
    pause_id,
    run_id_of,
    stamp,
    task_id_of,
)

MAX_EXTRA = 16 * 1024  # bytes of JSON of an asset event's extra: pages hold hundreds of them
MAX_EXTRA_DEPTH = MAX_DEPTH - 2  # it stands in the event's data
OMITTED = "windsock_omitted"
"""The one field of an `extra` that is left out: it says why. Airflow has the whole of it."""
Row = dict[str, Any]
Builder = Callable[[str, Row, datetime], Event | None]
"""Deployment, one row of a listing, the present moment → the event, or None where the row is in a state of
which there is none (queued, scheduled, deferred, …). Raises EventError where the row makes no sense."""

RUN_TIMES = (
    *("logical_date", "data_interval_start", "data_interval_end"),
    *("run_after", "queued_at", "start_date", "end_date"),
)
# A row in up_for_retry has the id of the *next* try already, and that of the one that failed is in no answer.
TASK_STATES_SHOWN = tuple(state for state in TASK_STATES if state != "up_for_retry")
WHILE_LATEST = {"failed": "up_for_retry"}
"""The archived state for each state that a hook reports of a try that a later try follows."""


def run_event(deployment: str, row: Row, now: datetime) -> Event | None:
    """Return the event for a row of /dagRuns, or None if its state makes no event."""
    state = row.get("state")
    if state not in RUN_STATES:
        return None
    dag_id, run_id = text_of(row, "dag_id"), text_of(row, "dag_run_id")
    times = {name: moment_of(row, name) for name in RUN_TIMES}
    data = {
        "dag_id": dag_id,
        "run_id": run_id,
        "state": state,
        "run_type": run_type_of(row),
        **{name: stamp(moment) if moment else None for name, moment in times.items()},
        "message": None,
        **_partition(row),
    }
    return build_event(
        deployment,
        run_id_of(dag_id, run_id, times["start_date"], times["queued_at"], state),
        f"airflow.dag_run.{state}",
        f"{dag_id}/{run_id}",
        times["start_date" if state == "running" else "end_date"] or now,
        data,
    )


def run_deleted_event(deployment: str, run: Mapping[str, Any], now: datetime) -> Event:
    """Return the event for a run of the read model that Airflow no longer knows."""
    times = ("logical_date", "queued_at", "start_date", "end_date")
    data = {
        "dag_id": run["dag_id"],
        "run_id": run["run_id"],
        "state": DELETED,
        "run_type": run["run_type"],
        **{name: stamp(run[name]) if run[name] else None for name in times},
    }
    event_id = run_id_of(run["dag_id"], run["run_id"], run["start_date"], run["queued_at"], DELETED)
    subject = f"{run['dag_id']}/{run['run_id']}"
    return build_event(deployment, event_id, f"airflow.dag_run.{DELETED}", subject, now, data)


def run_type_of(row: Mapping[str, Any]) -> Any:
    """Return the run's type.
    Airflow calls a run of `airflow dags test` manual and says that a test triggered it."""
    return TEST if row.get("triggered_by") == TEST else row.get("run_type")


def task_event(deployment: str, row: Row, now: datetime) -> Event | None:
    """Return the event for a row of /taskInstances, or None if its state makes no event."""
    state = row.get("state")
    if state not in TASK_STATES_SHOWN:
        return None
    ti_id = text_of(row, "id")
    return _task_event(deployment, row, now, state, ti_id, task_id_of(ti_id, state))


def earlier_try_event(deployment: str, row: Row, now: datetime, ti_id: str | None) -> Event | None:
    """Return the event for a row of …/tries that a later try follows, or None if the try has not ended.
    `ti_id` is the try's UUID if the log knows it, because REST does not show it.

    Airflow archives a try that it takes from a dead scheduler as failed."""
    state = WHILE_LATEST.get(str(row.get("state")), row.get("state"))
    if state not in TASK_STATES or state == "running":
        return None
    if ti_id is not None:
        return _task_event(deployment, row, now, state, ti_id, task_id_of(ti_id, state))
    dag_id, run_id, task_id = (text_of(row, name) for name in ("dag_id", "dag_run_id", "task_id"))
    map_index, try_number = (number_of(row, name) for name in ("map_index", "try_number"))
    event_id = earlier_try_id_of(dag_id, run_id, task_id, map_index, try_number, state)
    return _task_event(deployment, row, now, state, None, event_id)


def _task_event(
    deployment: str, row: Row, now: datetime, state: str, ti_id: str | None, event_id: str
) -> Event:
    dag_id, run_id, task_id = (text_of(row, name) for name in ("dag_id", "dag_run_id", "task_id"))
    map_index = row.get("map_index", -1)
    start, end = moment_of(row, "start_date"), moment_of(row, "end_date")
    end = None if state == "running" else end
    data = {
        "dag_id": dag_id,
        "run_id": run_id,
        "task_id": task_id,
        "map_index": map_index,
        "ti_id": ti_id,
        "try_number": row.get("try_number"),
        "max_tries": row.get("max_tries"),
        "state": state,
        "start_date": stamp(start) if start else None,
        "end_date": stamp(end) if end else None,
        "operator": row.get("operator") or None,
        "hostname": row.get("hostname") or None,
        "error": None,
    }
    return build_event(
        deployment,
        event_id,
        f"airflow.task_instance.{state}",
        f"{dag_id}/{run_id}/{task_id}"
        + (f"[{map_index}]" if isinstance(map_index, int) and map_index >= 0 else ""),
        (start if state == "running" else end) or now,
        data,
    )


def asset_event(deployment: str, row: Row, now: datetime) -> Event | None:
    """Return the event for a row of /assets/events."""
    number, moment = row.get("id"), moment_of(row, "timestamp")
    if not isinstance(number, int):
        raise EventError(f"id: {repr(number)[:SHOWN_VALUE]} of an asset event is not an integer")
    data = {
        "asset": {"name": row.get("name"), "uri": row.get("uri"), "group": row.get("group")},
        "asset_event_id": number,
        "timestamp": stamp(moment) if moment else None,
        "extra": _bounded(row.get("extra") or {}),
        **{name: row.get(name) for name in ("source_dag_id", "source_run_id", "source_task_id")},
        "source_map_index": row.get("source_map_index"),
        **_partition(row),
        "created_dagruns": [
            {"dag_id": run.get("dag_id"), "run_id": run.get("run_id")}
            for run in _objects(row, "created_dagruns")
        ],
    }
    event_id = asset_event_id_of(number)
    return build_event(
        deployment, event_id, "airflow.asset.updated", text_of(row, "uri"), moment or now, data
    )


def _bounded(extra: Any) -> Any:
    """Return an update's `extra`, or the reason why it is left out.
    Any task may write what it likes into `extra`, and the update must be logged all the same."""
    try:
        check_depth(extra, MAX_EXTRA_DEPTH)
        size = len(json.dumps(extra, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())
    except (EventError, RecursionError):
        return {OMITTED: f"nested more than {MAX_EXTRA_DEPTH} levels deep"}
    except ValueError:  # UnicodeEncodeError too
        return {OMITTED: "what JSON has no numbers or characters for"}
    return extra if size <= MAX_EXTRA else {OMITTED: f"{size} bytes of JSON, more than {MAX_EXTRA}"}


def _partition(row: Row) -> Row:
    """Return the partition key as a field, or nothing.
    Most rows have none, and Airflow before 3.2 does not know partitions."""
    key = row.get("partition_key")
    return {} if key is None else {"partition_key": key}


def moment_of(row: Row, name: str) -> datetime | None:
    """Return a time of a row. Raises EventError if the value is no time."""
    value = row.get(name)
    try:
        return None if value is None else moment_from(value)
    except ValueError as error:
        raise EventError(f"{name}: {error}") from None


def _objects(row: Row, name: str) -> list[Row]:
    value = row.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise EventError(f"{name}: {str(value)[:80]!r} is not a list of objects")
    return value


def text_of(row: Row, name: str) -> str:
    """Return a name in a row, which every database can look up. Raises EventError if the row has none."""
    value = row.get(name)
    if not isinstance(value, str) or not value or not is_storable(value):
        text = repr(value)[:SHOWN_VALUE]
        raise EventError(f"{name}: {text} is not a name; is this the answer of an Airflow?")
    return value


def number_of(row: Row, name: str) -> int:
    """Return a whole number in a row that fits an INTEGER column. Raises EventError if the row has none."""
    value = row.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not -1 <= value <= MAX_COUNT:
        text = repr(value)[:SHOWN_VALUE]
        raise EventError(f"{name}: {text} is not a whole number from -1 to {MAX_COUNT}")
    return value


def build_event(deployment: str, event_id: str, kind: str, subject: str, time: datetime, data: Row) -> Event:
    """Return an event as the reconciler reports it. Raises EventError."""
    return parse_event(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": f"/airflow/{deployment}",
            "type": kind,
            "subject": subject,
            "time": stamp(time),
            "datacontenttype": "application/json",
            "data": {**data, "reported_by": "reconciler"},
        }
    )


REDACTED = "REDACTED - "
"""The text that Airflow writes in place of a trace for users who may not read every DAG of the file."""


def is_redacted(row: Row) -> bool:
    """Return True if Airflow hides the trace from the monitor's user."""
    return text_of(row, "stack_trace").startswith(REDACTED)


def error_id_of(row: Row) -> str:
    """Return the id under which the row's import error is reported first. Raises EventError."""
    bundle = row.get("bundle_name")
    trace = text_of(row, "stack_trace")
    return import_error_id(text_of(row, "filename"), trace, bundle if isinstance(bundle, str) else None)


def import_error_event(
    deployment: str, row: Row, now: datetime, number: int = 1, first_id: str | None = None
) -> Event:
    """Return the event for a row of /importErrors, reported for the `number`th time.
    `first_id` is the id of the first report, if a hook made it. Raises EventError."""
    error_id = first_id or error_id_of(row)
    filename, trace = text_of(row, "filename"), text_of(row, "stack_trace")
    data = {
        "filename": filename,
        "bundle_name": row.get("bundle_name"),
        "stacktrace": trace if len(trace) <= MAX_TRACE else "…" + trace[1 - MAX_TRACE :],
        "error_id": error_id,
    }
    moment = moment_of(row, "timestamp") or now
    return build_event(deployment, nth(error_id, number), "airflow.dag.import_error", filename, moment, data)


def import_error_mended_event(
    deployment: str, error_id: str, row: Row, replaced_by: str | None, now: datetime, number: int = 1
) -> Event:
    """Return the event for the `number`th end of an import error. `row` holds its file and bundle."""
    filename = row.get("path") or row["filename"]
    data = {
        "filename": filename,
        "bundle_name": row["bundle_name"],
        "error_id": error_id,
        "replaced_by": replaced_by,
    }
    event_id = nth(import_error_mended_id(error_id), number)
    return build_event(deployment, event_id, "airflow.dag.import_error_mended", filename, now, data)


def pause_event(deployment: str, row: Row, now: datetime, number: int = 1) -> Event:
    """Return the event for a row of /dags whose DAG was paused or unpaused for the `number`th time.
    Raises EventError."""
    dag_id, is_paused = text_of(row, "dag_id"), row.get("is_paused")
    if not isinstance(is_paused, bool):
        raise EventError(f"is_paused: {is_paused!r} of the DAG {dag_id!r} is neither true nor false")
    state = "paused" if is_paused else "unpaused"
    event_id = nth(pause_id(dag_id, state), number)
    return build_event(
        deployment, event_id, f"airflow.dag.{state}", dag_id, now, {"dag_id": dag_id, "state": state}
    )


BACKFILL = "backfill"
"""The type of the runs that a backfill makes, or runs again."""


def completion_time(row: Row) -> datetime | None:
    """Return when the backfill of a row of /backfills was completed, or None before that.
    Raises EventError."""
    return moment_of(row, "completed_at")


def span_of(row: Row) -> tuple[datetime, datetime]:
    """Return the first and last logical date of a backfill. Raises EventError."""
    return _moment(row, "from_date"), _moment(row, "to_date")


def backfill_completed_event(deployment: str, row: Row, runs: Sequence[Row]) -> Event:
    """Return the event for a completed row of /backfills.
    `runs` are the runs of its DAG in its span. Raises EventError."""
    dag_id, number, completed = text_of(row, "dag_id"), number_of(row, "id"), _moment(row, "completed_at")
    since, until = span_of(row)
    created = _moment(row, "created_at")
    own = [run for run in runs if _is_of(run, created)]
    data = {
        "dag_id": dag_id,
        "backfill_id": number,
        "from_date": stamp(since),
        "to_date": stamp(until),
        "created_at": stamp(created),
        "completed_at": stamp(completed),
        "total_runs": len(own),
        "failed_runs": sum(run.get("state") == "failed" for run in own),
    }
    return build_event(
        deployment, backfill_id_of(number), "airflow.backfill.completed", dag_id, completed, data
    )


def _is_of(run: Row, created: datetime) -> bool:
    """Return True if a run of the span is this backfill's: REST's runs do not name theirs, and one that an
    earlier backfill made had ended before."""
    ended = moment_of(run, "end_date")
    return run.get("run_type") == BACKFILL and (ended is None or ended >= created)


def _moment(row: Row, name: str) -> datetime:
    moment = moment_of(row, name)
    if moment is None:
        raise EventError(f"{name}: null in a backfill of {row.get('dag_id')!r}")
    return moment
