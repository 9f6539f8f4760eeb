"""When tasks began and ended as Airflow's database has it.

A hook speaks from inside the task's process: its `start_date` differs from the one that Airflow keeps, and
the end that Airflow keeps comes after it, when the process is gone. So Airflow's dates replace a hook's as
soon as a listing shows them. Odd on purpose: this is no function of the log, and nobody is notified of it.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, bindparam, update

from monitor.board.states import RUNNING
from monitor.database.bulk import LookUp
from monitor.database.schema import task_instances as table
from monitor.events import Event
from monitor.events.data import TaskInstanceData

TASK = ("deployment", "dag_id", "run_id", "task_id", "map_index")
SAME_END = ("ti_id", "state")
"""What has to be the same, for dates to be those of what the board holds."""
DATES = ("start_date", "end_date")

_SHOWN = LookUp(table, TASK, table.c.state != RUNNING, columns=(*TASK, *SAME_END, *DATES))
_AT = [table.c[name] == bindparam(f"at_{name}") for name in (*TASK, *SAME_END)]
_CORRECT = update(table).where(*_AT).values({name: bindparam(f"new_{name}") for name in DATES})


def dated_otherwise(connection: Connection, events: Iterable[Event]) -> list[Event]:
    """Which of these ends, as Airflow lists them, the board holds with other dates."""
    ends = {_name(event): event for event in events if _is_end(event)}
    rows = _SHOWN.rows(connection, [name[: len(TASK)] for name in ends])
    shown = {tuple(row[name] for name in (*TASK, *SAME_END)): row for row in rows}
    return [
        event
        for name, event in ends.items()
        if name in shown and any(shown[name][date] != event.get(date) for date in DATES)
    ]


def correct_dates(connection: Connection, events: Sequence[Event]) -> None:
    """Take Airflow's dates for those that the board holds of the same ends."""
    names = [f"at_{name}" for name in (*TASK, *SAME_END)]
    changes = [
        dict(zip(names, _name(event), strict=True)) | {f"new_{date}": event.get(date) for date in DATES}
        for event in events
    ]
    if changes:
        connection.execute(_CORRECT, changes)


def _is_end(event: Event) -> bool:
    return isinstance(event.data, TaskInstanceData) and event.data.state != RUNNING


def _name(event: Event) -> tuple[object, ...]:
    return event.deployment, *(event.get(name) for name in (*TASK[1:], *SAME_END))
