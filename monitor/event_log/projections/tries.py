"""The read model of task tries, the last reported states, and the dates that Airflow keeps.

`apply_tries` and `tries_of` keep what was reported of each try. Airflow archives the tries that are over,
and its REST API shows them without the UUID that makes a try's id. So the ids in the log alone do not say
which ends were reported, and `detect_duplicate_tries` compares the tries themselves.

`find_last_states` gives the last reported state of a run or try, for the comparison with Airflow.

`find_changed_dates` and `correct_dates` replace the dates that a hook reported. A hook runs inside the
task's process, so its `start_date` differs from the date that Airflow keeps. Airflow's end date is later
than the hook's, because Airflow sets it after the process is gone. Airflow's dates replace a hook's dates as
soon as a listing shows them. Odd on purpose: this change is no function of the log and causes no
notification."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, Table, bindparam, update

from monitor.database.schema import dag_runs, task_instances, tries
from monitor.database.statements import BulkInsert, KeyLookup, Row, replacing
from monitor.event_log import append, read
from monitor.event_log.projections.state import (
    NO_ENDS,
    RUNNING,
    LoggedData,
    apply_tasks,
    falls_not_back,
    occurrence_of,
)
from monitor.events.data import DagRunData, TaskInstanceData
from monitor.events.event import Event

TRY = ("deployment", "dag_id", "run_id", "task_id", "map_index", "try_number")
"""The columns that name a try."""
UP_FOR_RETRY = "up_for_retry"
FAILURES = (UP_FOR_RETRY, "failed")
"""The states that report a try's failure. Airflow archives both as `failed`."""


class TaskName(NamedTuple):
    """The identity of a task: its Airflow deployment, run, task id and mapped index."""

    deployment: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int


class Try(NamedTuple):
    """The report of one try."""

    ti_id: str | None
    """The try's UUID. None if the try was reported without it, because it was unknown."""
    state: str
    filed: bool
    """True if the report is of an archived try, which no longer changes. Every other report of it comes
    late."""
    by_listener: bool = False
    """True if the report has just arrived from a hook. This is not stored."""

    @property
    def is_over(self) -> bool:
        """True if the try has ended."""
        return self.state != RUNNING  # `up_for_retry` is no end of the task, but one of this try

    @property
    def is_failure(self) -> bool:
        """True if the try has failed."""
        return self.state in FAILURES

    def agrees(self, other: "Try") -> bool:
        """Return True if both reports name the same end."""
        return self.state == other.state or (self.is_failure and other.is_failure)


_PUT = BulkInsert(tries, replacing(tries, lambda new: falls_not_back(tries, new)))
_OF_TASKS = KeyLookup(tries, TaskName._fields)
# Only tries for which a report may be late: the log has nothing final of a try that still runs.
_SETTLED = KeyLookup(tries, TRY, (tries.c.state != RUNNING) | tries.c.filed)


def name_of(event: Event, data: TaskInstanceData) -> tuple[str | int, ...]:
    """Return the identity of the event's try: the values of TRY.
    A plain tuple, because each event needs one or two."""
    return event.deployment, data.dag_id, data.run_id, data.task_id, data.map_index, data.try_number


def apply_tries(connection: Connection, logged: Sequence[LoggedData[TaskInstanceData]]) -> None:
    """Apply reports of tries to the read model."""
    _PUT.rows(connection, [_row(*item) for item in logged])


def _row(seq: int, event: Event, data: TaskInstanceData) -> Row:
    return {
        "deployment": event.deployment,
        "dag_id": data.dag_id,
        "run_id": data.run_id,
        "task_id": data.task_id,
        "map_index": data.map_index,
        "try_number": data.try_number,
        "ti_id": data.ti_id,
        "state": data.state,
        "filed": _is_filed(data),
        "last_seq": seq,
    }


def tries_of(connection: Connection, tasks: Sequence[TaskName]) -> dict[TaskName, dict[int, Try]]:
    """Return the report of each try of these tasks, by its number."""
    found: dict[TaskName, dict[int, Try]] = defaultdict(dict)
    for row in _OF_TASKS.rows(connection, tasks):
        found[TaskName(*(row[name] for name in TaskName._fields))][row["try_number"]] = _try(row)
    return found


def detect_duplicate_tries(connection: Connection, events: Sequence[Event]) -> list[bool]:
    """Return True for each event, in order, about a try whose end was reported under another id.

    Such a try was archived without its UUID and its hook reports late, or the other way round. Call this
    only while no other transaction can append to the log."""
    reported = [
        (number, name_of(event, event.data), _parse_try(event.data))
        for number, event in enumerate(events)
        if isinstance(event.data, TaskInstanceData)
    ]
    found = _SETTLED.rows(connection, {name for _, name, _ in reported})
    logged_tries = {tuple(row[name] for name in TRY): _try(row) for row in found}
    # A duplicate of a logged report says nothing new of its try, even if another end was reported since. It
    # is looked for only if it can make a difference: not for a try that has just begun, as most have.
    logged = read.find_logged(
        connection, [append.name_of(events[number]) for number, name, _ in reported if name in logged_tries]
    )
    answers = [False] * len(events)
    for number, name, new in reported:
        if (event_name := append.name_of(events[number])) in logged:
            continue
        old = logged_tries.get(name)
        answers[number] = old is not None and (_is_duplicate(new, old) or _is_overtaken(new, old))
        if answers[number]:
            continue
        logged.add(event_name)
        if old is None or not _falls_back(new, old):
            logged_tries[name] = new
    return answers


def _is_duplicate(new: Try, old: Try) -> bool:
    if new.filed:
        return old.is_over and old.agrees(new)
    return old.filed and old.ti_id in (None, new.ti_id)


def _is_overtaken(new: Try, old: Try) -> bool:
    """Return True if a process still reports a try that Airflow has given up.
    The task has another UUID since then, and Airflow ignores the old process. If REST shows the old UUID all
    the same, REST's report counts."""
    return new.by_listener and old.state == UP_FOR_RETRY and old.ti_id == new.ti_id


def _falls_back(new: Try, old: Try) -> bool:
    return old.is_over and not new.is_over


def _parse_try(data: TaskInstanceData) -> Try:
    return Try(data.ti_id, data.state, _is_filed(data), data.reported_by == "listener")


def _is_filed(data: TaskInstanceData) -> bool:
    # A row of Airflow's that is up_for_retry has the next try's UUID. So the reconciler reports that state
    # only of archived tries.
    return data.ti_id is None or (data.state == UP_FOR_RETRY and data.reported_by == "reconciler")


def _try(row: Row) -> Try:
    return Try(row["ti_id"], row["state"], bool(row["filed"]))


_LOOK_UP = {table: KeyLookup(table, table.primary_key.columns.keys()) for table in (dag_runs, task_instances)}


@dataclass(frozen=True)
class LastState:
    """The last reported state of a run or a try."""

    state: str
    seq: int


def is_end(event: Event) -> bool:
    """Return True if the event is the end of a run or a task."""
    return isinstance(event.data, DagRunData | TaskInstanceData) and event.data.state not in NO_ENDS


def find_last_states(connection: Connection, events: Sequence[Event]) -> dict[str, LastState]:
    """Return the last report of the run or try that each event is about, by the event's id.
    A run or try that has begun anew since is left out. Runs and tasks take one statement each."""
    by_table: dict[Table, list[Event]] = {dag_runs: [], task_instances: []}
    for event in events:
        by_table[dag_runs if isinstance(event.data, DagRunData) else task_instances].append(event)
    return {
        event.id: LastState(row["state"], row["last_seq"])
        for table, some in by_table.items()
        for event, row in _rows_of(connection, table, some)
        if row["run_key" if table is dag_runs else "ti_id"] == _occurrence(event)
    }


def _rows_of(connection: Connection, table: Table, events: Sequence[Event]) -> Iterator[tuple[Event, Row]]:
    """Yield each event of a run or a task with its row, if it has one."""
    names = table.primary_key.columns.keys()
    keys = [(event.deployment, *(event.get(name) for name in names[1:])) for event in events]
    rows = _LOOK_UP[table].rows(connection, set(keys))
    found = {tuple(row[name] for name in names): row for row in rows}
    yield from ((event, found[key]) for event, key in zip(events, keys, strict=True) if key in found)


def _occurrence(event: Event) -> str:
    if isinstance(event.data, DagRunData):
        return occurrence_of(event.data)
    return str(event.get("ti_id"))


def apply_task_reports(connection: Connection, logged: Sequence[LoggedData[TaskInstanceData]]) -> None:
    """Apply reports of tasks to both read models, of tasks and of tries."""
    lasting = _lasting(logged)
    apply_tasks(connection, lasting)
    apply_tries(connection, lasting)


def _lasting(logged: Sequence[LoggedData[TaskInstanceData]]) -> list[LoggedData[TaskInstanceData]]:
    """Return the reports without those that a later end of the same try replaces.
    Whatever the read model holds, an end overwrites earlier reports of its own try, so those are not written
    at all. They are half of a busy hour's reports."""
    ended: set[tuple[object, ...]] = set()
    lasting = []
    for item in reversed(logged):
        _, event, data = item
        name = (data.ti_id, *name_of(event, data))
        if name not in ended:
            lasting.append(item)
            if data.state != RUNNING:
                ended.add(name)
    lasting.reverse()
    return lasting


TASK = ("deployment", "dag_id", "run_id", "task_id", "map_index")
SAME_END = ("ti_id", "state")
"""The columns that must agree before Airflow's dates count for a row of the read model."""
DATES = ("start_date", "end_date")

_SHOWN = KeyLookup(
    task_instances, TASK, task_instances.c.state != RUNNING, columns=(*TASK, *SAME_END, *DATES)
)
_AT = [task_instances.c[name] == bindparam(f"at_{name}") for name in (*TASK, *SAME_END)]
_CORRECT = update(task_instances).where(*_AT).values({name: bindparam(f"new_{name}") for name in DATES})


def find_changed_dates(connection: Connection, events: Iterable[Event]) -> list[Event]:
    """Return the ends that the read model holds with dates other than Airflow lists."""
    ends = {_name(event): event for event in events if _is_end(event)}
    rows = _SHOWN.rows(connection, [name[: len(TASK)] for name in ends])
    rows_by_end = {tuple(row[name] for name in (*TASK, *SAME_END)): row for row in rows}
    return [
        event
        for name, event in ends.items()
        if name in rows_by_end and any(rows_by_end[name][date] != event.get(date) for date in DATES)
    ]


def correct_dates(connection: Connection, events: Sequence[Event]) -> None:
    """Take Airflow's dates for those that the read model holds of the same ends."""
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
