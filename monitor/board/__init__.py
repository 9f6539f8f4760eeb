"""What the dashboard reads: runs, tasks, assets, DAGs and their files, always a function of the log.

Three exceptions: of a DAG that is seen for the first time, whether it is paused is kept and told to nobody;
what Airflow's list says of DAGs (tags, owners, schedule) is kept as it is, and told to nobody; and so are the
dates that Airflow's list has for the end of a task that a hook told with others (task_dates.py).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection

from monitor.board.assets import (
    AssetName,
    AssetUpdate,
    asset,
    asset_gaps,
    asset_list,
    asset_updates,
    gaps,
    is_compared_in_sight,
)
from monitor.board.dags import (
    apply_pauses,
    dag,
    every_dag,
    known_dags,
    partitioned_dags,
    see_dags,
    strangers,
    update_dags,
)
from monitor.board.facts import facts_of, facts_of_all
from monitor.board.forget import (
    forget_assets,
    forget_import_errors,
    forget_runs,
    forget_tasks,
    forget_tries,
)
from monitor.board.history import begun, latest, lengths, updated_assets
from monitor.board.import_errors import (
    Place,
    apply_import_errors,
    is_below,
    known_import_errors,
    locate,
    may_be,
    places_of,
    told_as_another,
)
from monitor.board.last_words import LastWord, is_end, last_words
from monitor.board.lists import RunName, run, running, runs, tasks, test_runs
from monitor.board.rows import Row, Told
from monitor.board.run_list import RunsWanted, Strip, first_failure, run_list, strip
from monitor.board.states import OVER, RUN_ENDS, RUNNING, apply_assets, apply_runs
from monitor.board.task_dates import correct_dates, dated_otherwise
from monitor.board.task_reports import apply_task_reports
from monitor.board.tries import TaskName, Try, tries_of
from monitor.board.tries import told_already as told_of_tries
from monitor.events import Event
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

_Appliers = tuple[Callable[[Connection, Sequence[Told[Any]]], None], ...]
_APPLIERS: dict[type[Data], _Appliers] = {
    DagRunData: (apply_runs,),
    TaskInstanceData: (apply_task_reports,),
    AssetData: (apply_assets,),
    AssetUpdatedData: (apply_assets,),
    ImportErrorData: (apply_import_errors,),
    ImportErrorMendedData: (apply_import_errors,),
    DagPauseData: (apply_pauses,),
}
"""Who brings the board up to which data. No two of them write the same table, so each goes by itself."""

__all__ = [
    "OVER",
    "RUNNING",
    "RUN_ENDS",
    "AssetName",
    "AssetUpdate",
    "LastWord",
    "Place",
    "Row",
    "RunName",
    "RunsWanted",
    "Strip",
    "TaskName",
    "Try",
    "apply",
    "apply_all",
    "asset",
    "asset_gaps",
    "asset_list",
    "asset_updates",
    "begun",
    "correct_dates",
    "dag",
    "dated_otherwise",
    "every_dag",
    "facts_of",
    "facts_of_all",
    "first_failure",
    "forget_assets",
    "forget_import_errors",
    "forget_runs",
    "forget_tasks",
    "forget_tries",
    "gaps",
    "is_below",
    "is_compared_in_sight",
    "is_end",
    "known_dags",
    "known_import_errors",
    "last_words",
    "latest",
    "lengths",
    "locate",
    "may_be",
    "partitioned_dags",
    "places_of",
    "run",
    "run_list",
    "running",
    "runs",
    "see_dags",
    "strangers",
    "strip",
    "tasks",
    "test_runs",
    "told_already",
    "tries_of",
    "update_dags",
    "updated_assets",
]


def told_already(connection: Connection, events: Sequence[Event]) -> list[bool]:
    """Which of these events, in their order, were told under another id. To be asked where nobody else
    appends to the log."""
    tries, errors = told_of_tries(connection, events), told_as_another(connection, events)
    return [one or other for one, other in zip(tries, errors, strict=True)]


def apply(connection: Connection, seq: int, event: Event) -> None:
    """Bring the board up to this event, which has just been logged under this seq."""
    apply_all(connection, [(seq, event)])


def apply_all(connection: Connection, logged: Iterable[tuple[int, Event]]) -> None:
    """The same for several, in their order."""
    told: dict[_Appliers, list[Told[Any]]] = defaultdict(list)
    for seq, event in logged:
        told[_APPLIERS.get(type(event.data), ())].append((seq, event, event.data))
    for appliers, some in told.items():
        for apply_some in appliers:
            apply_some(connection, some)
