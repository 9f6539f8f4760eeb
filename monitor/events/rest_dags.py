"""Events of DAGs and of their files, from Airflow's listings of what there is now: nothing tells of a change
but that the listing is another.
"""

from datetime import datetime

from monitor.errors import EventError
from monitor.events.identity import import_error_id, mended_id, nth, pause_id
from monitor.events.model import Event
from monitor.events.rest import Row, moment_of, reconciled, text_of
from monitor.events.values import MAX_TRACE

REDACTED = "REDACTED - "
"""What Airflow writes in place of a trace for those who may not read every DAG of the file."""


def is_redacted(row: Row) -> bool:
    return text_of(row, "stack_trace").startswith(REDACTED)


def error_id_of(row: Row) -> str:
    """The id under which the import error of a row is told first. Raises EventError."""
    bundle = row.get("bundle_name")
    trace = text_of(row, "stack_trace")
    return import_error_id(text_of(row, "filename"), trace, bundle if isinstance(bundle, str) else None)


def import_error_event(
    deployment: str, row: Row, now: datetime, number: int = 1, first_id: str | None = None
) -> Event:
    """A row of /importErrors, told for the `number`th time. `first_id`: the id under which it was told first,
    if a hook told it. Raises EventError."""
    error_id = first_id or error_id_of(row)
    filename, trace = text_of(row, "filename"), text_of(row, "stack_trace")
    data = {
        "filename": filename,
        "bundle_name": row.get("bundle_name"),
        "stacktrace": trace if len(trace) <= MAX_TRACE else "…" + trace[1 - MAX_TRACE :],
        "error_id": error_id,
    }
    moment = moment_of(row, "timestamp") or now
    return reconciled(deployment, nth(error_id, number), "airflow.dag.import_error", filename, moment, data)


def mended_event(
    deployment: str, error_id: str, known: Row, replaced_by: str | None, now: datetime, number: int = 1
) -> Event:
    """The end of an import error that is `known` (its file and bundle), for the `number`th time."""
    filename = known.get("path") or known["filename"]
    data = {
        "filename": filename,
        "bundle_name": known["bundle_name"],
        "error_id": error_id,
        "replaced_by": replaced_by,
    }
    event_id = nth(mended_id(error_id), number)
    return reconciled(deployment, event_id, "airflow.dag.import_error_mended", filename, now, data)


def pause_event(deployment: str, row: Row, now: datetime, number: int = 1) -> Event:
    """A row of /dags, as the DAG's having been (un)paused, for the `number`th time. Raises EventError."""
    dag_id, is_paused = text_of(row, "dag_id"), row.get("is_paused")
    if not isinstance(is_paused, bool):
        raise EventError(f"is_paused: {is_paused!r} of the DAG {dag_id!r} is neither true nor false")
    state = "paused" if is_paused else "unpaused"
    event_id = nth(pause_id(dag_id, state), number)
    return reconciled(
        deployment, event_id, f"airflow.dag.{state}", dag_id, now, {"dag_id": dag_id, "state": state}
    )
