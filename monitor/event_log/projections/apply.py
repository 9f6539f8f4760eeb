"""The application of logged events to the read models.

Three values of the read models come from Airflow's listings, without an event. The first is the paused state
of a DAG that is seen for the first time. The second is the description of a DAG: its tags, owners and
schedule. The third is the dates of a task's end that a hook reported with other dates (tries.py). None of
the three causes a notification."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection

from monitor.event_log.projections.dags import apply_pauses
from monitor.event_log.projections.import_errors import apply_import_errors, detect_duplicate_errors
from monitor.event_log.projections.state import LoggedData, apply_assets, apply_runs
from monitor.event_log.projections.tries import apply_task_reports, detect_duplicate_tries
from monitor.events.data import (
    AssetData,
    AssetUpdatedData,
    DagPauseData,
    DagRunData,
    Data,
    ImportErrorData,
    ImportErrorMendedData,
    TaskInstanceData,
)
from monitor.events.event import Event

_Appliers = tuple[Callable[[Connection, Sequence[LoggedData[Any]]], None], ...]
_APPLIERS: dict[type[Data], _Appliers] = {
    DagRunData: (apply_runs,),
    TaskInstanceData: (apply_task_reports,),
    AssetData: (apply_assets,),
    AssetUpdatedData: (apply_assets,),
    ImportErrorData: (apply_import_errors,),
    ImportErrorMendedData: (apply_import_errors,),
    DagPauseData: (apply_pauses,),
}
"""The functions that apply each type of data to the read models. No two of them write the same table, so
each works by itself."""


def detect_duplicates(connection: Connection, events: Sequence[Event]) -> list[bool]:
    """Return True for each event, in order, that was reported under another id.
    Call this only while no other transaction can append to the log."""
    tries, errors = detect_duplicate_tries(connection, events), detect_duplicate_errors(connection, events)
    return [is_duplicate or other for is_duplicate, other in zip(tries, errors, strict=True)]


def apply(connection: Connection, seq: int, event: Event) -> None:
    """Bring the read models up to this event, which has just been logged under this seq."""
    apply_all(connection, [(seq, event)])


def apply_all(connection: Connection, logged: Iterable[tuple[int, Event]]) -> None:
    """Apply several logged events to the read models, in their order."""
    logged_by_appliers: dict[_Appliers, list[LoggedData[Any]]] = defaultdict(list)
    for seq, event in logged:
        logged_by_appliers[_APPLIERS.get(type(event.data), ())].append((seq, event, event.data))
    for appliers, some in logged_by_appliers.items():
        for apply_some in appliers:
            apply_some(connection, some)
