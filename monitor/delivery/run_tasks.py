"""The tasks of a run as a mail tells them: Airflow's list where there is one, with the errors that only the
log has, and the ends of the failed ones' logs."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from monitor import board
from monitor.board import RunName
from monitor.delivery.airflow import Airflow
from monitor.delivery.asking import asked
from monitor.delivery.facts import LAST, by_end, last_lines, task_of
from monitor.render import Error, Task

LOGS = 5  # failed tasks whose log is read: the mail shows as many in full
LOG_LINES = 20

Known = Sequence[board.Row]
"""The board's tasks of the run."""


async def failed_tasks(airflow: Airflow | None, name: RunName, known: Known) -> tuple[Task, ...]:
    tasks = None
    if airflow is not None:
        tasks = await asked(_from_airflow(airflow, name, known, ("failed",)), "failed tasks")
    if tasks is None:
        tasks = [task_of(row) for row in known if row["state"] == "failed"]
    tasks.sort(key=by_end)
    shown = await asyncio.gather(*(with_log(airflow, name, task) for task in tasks[:LOGS]))
    return (*shown, *tasks[LOGS:])


async def all_tasks(airflow: Airflow | None, name: RunName, known: Known) -> tuple[Task, ...]:
    tasks = None
    if airflow is not None:
        tasks = await asked(_from_airflow(airflow, name, known), "tasks")
    if tasks is None:
        tasks = [task_of(row) for row in known]
    return tuple(sorted(tasks, key=lambda task: (task.start or task.end or LAST, task.name)))


async def _from_airflow(
    airflow: Airflow, name: RunName, known: Known, state: Sequence[str] = ()
) -> list[Task]:
    return [_joined(row, known) for row in await airflow.task_instances(name.dag_id, name.run_id, state)]


async def with_log(airflow: Airflow | None, name: RunName, task: Task) -> Task:
    """The task with the end of its log, where no traceback was reported."""
    if airflow is None or (task.error and task.error.lines):
        return task
    lines = await asked(
        airflow.log_tail(name.dag_id, name.run_id, task.task_id, task.map_index, task.try_number, LOG_LINES),
        f"the log of {task.name}",
    )
    if not lines:
        return task
    error = task.error or Error(None, "")
    return replace(task, error=replace(error, lines=last_lines(lines, LOG_LINES), lines_from="Log"))


def _joined(row: Mapping[str, Any], known: Known) -> Task:
    key = ("task_id", "map_index", "try_number")
    same = (other for other in known if all(other[name] == row.get(name) for name in key))
    return task_of(row, next(same, None))
