"""Each try of each task: what was told of it. Airflow files the tries that are over, and its REST API shows
what is filed without the UUID that makes a try's id; so the log's ids alone do not say what is told.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from monitor import event_log
from monitor.board.rows import Row, Told
from monitor.board.states import RUNNING, falls_not_back
from monitor.database.bulk import LookUp, Write, replacing
from monitor.database.schema import tries
from monitor.events import Event
from monitor.events.data import TaskInstanceData

TRY = ("deployment", "dag_id", "run_id", "task_id", "map_index", "try_number")
"""The columns that name a try."""
UP_FOR_RETRY = "up_for_retry"
FAILURES = (UP_FOR_RETRY, "failed")
"""How a try's failure is told: Airflow files either as `failed`."""


class TaskName(NamedTuple):
    """Which task, mapped index by mapped index, of which run of which Airflow."""

    deployment: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int


class Try(NamedTuple):
    """What was told of one try."""

    ti_id: str | None
    """None: it was told without its UUID, which nobody knew."""
    state: str
    filed: bool
    """Told of what Airflow has filed, which nobody changes any more: every other report of it comes late."""
    by_listener: bool = False
    """Of a report that has just arrived: a hook's. It is not kept."""

    @property
    def is_over(self) -> bool:
        return self.state != RUNNING  # `up_for_retry` is no end of the task, but one of this try

    @property
    def is_failure(self) -> bool:
        return self.state in FAILURES

    def agrees(self, other: "Try") -> bool:
        """Whether both tell of the same end."""
        return self.state == other.state or (self.is_failure and other.is_failure)


_PUT = Write(tries, replacing(tries, lambda new: falls_not_back(tries, new)))
_OF_TASKS = LookUp(tries, TaskName._fields)
# Those alone that a report may be late for: nothing is known already of a try that still runs.
_SETTLED = LookUp(tries, TRY, (tries.c.state != RUNNING) | tries.c.filed)


def name_of(event: Event, data: TaskInstanceData) -> tuple[str | int, ...]:
    """Which try an event tells of: the values of TRY. A plain tuple: each event needs one, or two."""
    return event.deployment, data.dag_id, data.run_id, data.task_id, data.map_index, data.try_number


def apply_tries(connection: Connection, told: Sequence[Told[TaskInstanceData]]) -> None:
    _PUT.rows(connection, [_row(*one) for one in told])


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
    """What was told of each try of these tasks, by its number."""
    found: dict[TaskName, dict[int, Try]] = defaultdict(dict)
    for row in _OF_TASKS.rows(connection, tasks):
        found[TaskName(*(row[name] for name in TaskName._fields))][row["try_number"]] = _try(row)
    return found


def told_already(connection: Connection, events: Sequence[Event]) -> list[bool]:
    """Which of these events, in their order, tell of a try whose end was told under another id.

    It was filed without its UUID and its hook reports late, or the other way round. To be asked where
    nobody else appends to the log.
    """
    told = [
        (number, name_of(event, event.data), _told(event.data))
        for number, event in enumerate(events)
        if isinstance(event.data, TaskInstanceData)
    ]
    found = _SETTLED.rows(connection, {name for _, name, _ in told})
    known = {tuple(row[name] for name in TRY): _try(row) for row in found}
    # What the log has says nothing new of its try, though another end was told since. It is looked for where
    # it can make a difference: not of a try that has just begun, as most are.
    logged = event_log.known(
        connection, [event_log.name_of(events[number]) for number, name, _ in told if name in known]
    )
    answers = [False] * len(events)
    for number, name, new in told:
        if (one := event_log.name_of(events[number])) in logged:
            continue
        old = known.get(name)
        answers[number] = old is not None and (_is_known(new, old) or _is_overtaken(new, old))
        if answers[number]:
            continue
        logged.add(one)
        if old is None or not _falls_back(new, old):
            known[name] = new
    return answers


def _is_known(new: Try, old: Try) -> bool:
    if new.filed:
        return old.is_over and old.agrees(new)
    return old.filed and old.ti_id in (None, new.ti_id)


def _is_overtaken(new: Try, old: Try) -> bool:
    """Whether a process still speaks of a try that Airflow has given up: the task has another UUID since, and
    nobody hears it. Where REST shows the old one all the same, its word counts."""
    return new.by_listener and old.state == UP_FOR_RETRY and old.ti_id == new.ti_id


def _falls_back(new: Try, old: Try) -> bool:
    return old.is_over and not new.is_over


def _told(data: TaskInstanceData) -> Try:
    return Try(data.ti_id, data.state, _is_filed(data), data.reported_by == "listener")


def _is_filed(data: TaskInstanceData) -> bool:
    # A row of Airflow's that is up_for_retry has the next try's UUID: the reconciler tells that state only of
    # tries that are filed.
    return data.ti_id is None or (data.state == UP_FOR_RETRY and data.reported_by == "reconciler")


def _try(row: Row) -> Try:
    return Try(row["ti_id"], row["state"], bool(row["filed"]))
