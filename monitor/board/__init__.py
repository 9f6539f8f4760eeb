"""What the dashboard reads: runs, tasks, assets, DAGs and their files, always a function of the log.

Two exceptions: of a DAG that is seen for the first time, whether it is paused is kept and told to nobody; and
what Airflow's list says of DAGs (tags, owners, schedule) is kept as it is, and told to nobody.
"""

from sqlalchemy import Connection

from monitor.board.assets import AssetName, AssetUpdate, asset, asset_gaps, asset_updates, gaps
from monitor.board.dags import (
    apply_import_error,
    apply_mended,
    apply_pause,
    dag,
    every_dag,
    known_dags,
    known_import_errors,
    see_dags,
    strangers,
    update_dags,
)
from monitor.board.facts import facts_of
from monitor.board.history import begun, latest, lengths, updated_assets
from monitor.board.last_words import LastWord, is_end, last_words
from monitor.board.lists import RunName, asset_list, run, runs, tasks
from monitor.board.rows import Row
from monitor.board.run_list import RunsWanted, Strip, first_failure, run_list, strip
from monitor.board.states import RUN_ENDS, RUNNING, apply_asset, apply_run, apply_task
from monitor.board.tries import TaskName, Try, apply_try, told_already, tries_of
from monitor.events import Event
from monitor.events.data import (
    AssetData,
    DagPauseData,
    DagRunData,
    ImportErrorData,
    ImportErrorMendedData,
    TaskInstanceData,
)

__all__ = [
    "RUNNING",
    "RUN_ENDS",
    "AssetName",
    "AssetUpdate",
    "LastWord",
    "Row",
    "RunName",
    "RunsWanted",
    "Strip",
    "TaskName",
    "Try",
    "apply",
    "asset",
    "asset_gaps",
    "asset_list",
    "asset_updates",
    "begun",
    "dag",
    "every_dag",
    "facts_of",
    "first_failure",
    "gaps",
    "is_end",
    "known_dags",
    "known_import_errors",
    "last_words",
    "latest",
    "lengths",
    "run",
    "run_list",
    "runs",
    "see_dags",
    "strangers",
    "strip",
    "tasks",
    "told_already",
    "tries_of",
    "update_dags",
    "updated_assets",
]


def apply(connection: Connection, seq: int, event: Event) -> None:
    """Bring the board up to this event, which has just been logged under this seq."""
    match event.data:
        case DagRunData():
            apply_run(connection, seq, event, event.data)
        case TaskInstanceData():
            apply_task(connection, seq, event, event.data)
            apply_try(connection, seq, event, event.data)
        case AssetData():
            apply_asset(connection, seq, event, event.data)
        case ImportErrorData():
            apply_import_error(connection, seq, event, event.data)
        case ImportErrorMendedData():
            apply_mended(connection, seq, event, event.data)
        case DagPauseData():
            apply_pause(connection, seq, event, event.data)
