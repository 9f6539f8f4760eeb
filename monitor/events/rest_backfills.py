"""The end of a backfill, from Airflow's listings of a DAG's backfills and of its runs."""

from collections.abc import Sequence
from datetime import datetime

from monitor.errors import EventError
from monitor.events.identity import backfill_id_of, stamp
from monitor.events.model import Event
from monitor.events.rest import Row, moment_of, number_of, reconciled, text_of

BACKFILL = "backfill"
"""The type of the runs that a backfill makes, or runs again."""


def completed_at(row: Row) -> datetime | None:
    """When the backfill of a row of /backfills was through; None while it is not. Raises EventError."""
    return moment_of(row, "completed_at")


def span_of(row: Row) -> tuple[datetime, datetime]:
    """The logical dates that a backfill is about. Raises EventError."""
    return _moment(row, "from_date"), _moment(row, "to_date")


def completed_event(deployment: str, row: Row, runs: Sequence[Row]) -> Event:
    """A row of /backfills that is through; `runs`: those of its DAG in its span. Raises EventError."""
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
    return reconciled(
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
