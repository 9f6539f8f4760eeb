"""Gather what a mail tells: the event, what the log knows of the run, and what Airflow adds.

Airflow's part is a gain, not a need: where it fails or takes too long, the mail goes out with what is known.
"""

import asyncio
import json
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from sqlalchemy import Connection

from monitor import board, event_log
from monitor.board import RunName
from monitor.database import Database
from monitor.delivery.airflow import Airflow
from monitor.delivery.facts import asset_of, last_lines, metrics_of, run_of, task_of
from monitor.errors import AirflowError
from monitor.event_log import Filter
from monitor.events import Event, parse_event
from monitor.events.data import AssetUpdatedData, DagRunData
from monitor.render import Error, Story, Task

ASK_SECONDS = 20.0  # for each of the few questions to Airflow: far within the lease
LOGS = 5  # failed tasks whose log is read: the mail shows as many in full
LOG_LINES = 20
MAX_UPDATES = 50  # asset events of one run
ASSET_PAGES = 10  # of Airflow's asset events of the run's time that are looked through
MARGIN = timedelta(seconds=2)  # clocks of workers and api-servers differ a little
LAST = datetime.max.replace(tzinfo=timezone.utc)

T = TypeVar("T")
Row = Mapping[str, Any]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Known:
    """What the database holds of a run."""

    tasks: list[board.Row]
    updates: list[AssetUpdatedData]


async def tell(database: Database, airflow: Airflow | None, event: Event, unconfirmed: str | None) -> Story:
    """The story of a run's end. `airflow` is None where there is none or where it cannot be asked."""
    data = event.data
    if not isinstance(data, DagRunData):
        raise TypeError(f"no story is told of {event.type}")
    name = RunName(event.deployment, data.dag_id, data.run_id)
    known = await database.read(lambda connection: _known(connection, name))
    story = Story(event.id, event.type, run_of(event.deployment, data), unconfirmed=unconfirmed)
    if data.state == "failed":
        return replace(story, failed=await _failed(airflow, name, known))
    updates = await _updates(airflow, data, known)
    return replace(
        story,
        tasks=await _tasks(airflow, name, known),
        metrics=metrics_of(updates),
        assets=tuple(asset_of(update) for update in updates),
    )


def _known(connection: Connection, name: RunName) -> _Known:
    wanted = Filter.of(
        type=["airflow.asset.updated"],
        deployment=[name.deployment],
        dag_id=[name.dag_id],
        run_id=[name.run_id],
    )
    logged = event_log.read_before(connection, None, MAX_UPDATES, wanted)
    events = [parse_event(json.loads(found.body)) for found in reversed(logged)]
    updates = [event.data for event in events if isinstance(event.data, AssetUpdatedData)]
    # A filter reads * and ? in a name as globs; here they are letters.
    return _Known(board.tasks(connection, name), [one for one in updates if _is_of(one, name)])


def _is_of(update: AssetUpdatedData, name: RunName) -> bool:
    return (update.source_dag_id, update.source_run_id) == (name.dag_id, name.run_id)


async def _failed(airflow: Airflow | None, name: RunName, known: _Known) -> tuple[Task, ...]:
    """The failed tasks: Airflow's list where there is one, with the errors that only the log has."""
    rows = None
    if airflow is not None:
        rows = await _asked(airflow.task_instances(name.dag_id, name.run_id, ("failed",)), "failed tasks")
    failed = [row for row in known.tasks if row["state"] == "failed"] if rows is None else rows
    tasks = sorted((_joined(row, known) for row in failed), key=lambda task: (task.end or LAST, task.name))
    if airflow is None:
        return tuple(tasks)
    shown = [await _with_log(airflow, name, task) for task in tasks[:LOGS]]
    return (*shown, *tasks[LOGS:])


async def _tasks(airflow: Airflow | None, name: RunName, known: _Known) -> tuple[Task, ...]:
    rows = None
    if airflow is not None:
        rows = await _asked(airflow.task_instances(name.dag_id, name.run_id), "tasks")
    tasks = [_joined(row, known) for row in (known.tasks if rows is None else rows)]
    return tuple(sorted(tasks, key=lambda task: (task.start or task.end or LAST, task.name)))


def _joined(row: Row, known: _Known) -> Task:
    key = ("task_id", "map_index", "try_number")
    same = (other for other in known.tasks if all(other[name] == row.get(name) for name in key))
    return task_of(row, next(same, None))


async def _with_log(airflow: Airflow, name: RunName, task: Task) -> Task:
    """The task with the end of its log, where no traceback was reported."""
    if task.error and task.error.lines:
        return task
    lines = await _asked(
        airflow.log_tail(name.dag_id, name.run_id, task.task_id, task.map_index, task.try_number, LOG_LINES),
        f"the log of {task.name}",
    )
    if not lines:
        return task
    error = task.error or Error(None, "")
    return replace(task, error=replace(error, lines=last_lines(lines, LOG_LINES), lines_from="Log"))


async def _updates(airflow: Airflow | None, data: DagRunData, known: _Known) -> list[AssetUpdatedData]:
    """The assets that the run updated. Airflow is asked: the log may hear of the last one late."""
    found = None
    if airflow is not None and data.start_date is not None:
        found = await _asked(_asset_events(airflow, data, data.start_date), "asset events")
    return found or known.updates


async def _asset_events(airflow: Airflow, data: DagRunData, start: datetime) -> list[AssetUpdatedData]:
    until = data.end_date + MARGIN if data.end_date else None
    found: list[AssetUpdatedData] = []
    looked = 0
    async for page in airflow.asset_events(start - MARGIN, until):
        rows = [
            row
            for row in page.rows
            if (row.get("source_dag_id"), row.get("source_run_id")) == (data.dag_id, data.run_id)
        ]
        found += [_update(row) for row in rows]
        looked += 1
        if looked >= ASSET_PAGES or len(found) >= MAX_UPDATES:
            break
    return found[:MAX_UPDATES]


def _update(row: Row) -> AssetUpdatedData:
    """An asset event of REST as the log would have it."""
    asset = {"name": row.get("name") or row.get("uri"), "uri": row.get("uri"), "group": row.get("group")}
    fields = ("timestamp", "extra", "source_dag_id", "source_run_id", "source_task_id", "created_dagruns")
    return AssetUpdatedData.model_validate(
        {
            **{name: row[name] for name in fields if row.get(name) is not None},
            "asset": asset,
            "asset_event_id": row.get("id"),
            "reported_by": "reconciler",
        }
    )


async def _asked(question: Coroutine[Any, Any, T], what: str) -> T | None:
    """Airflow's answer, or None: no answer stops a mail."""
    try:
        return await asyncio.wait_for(question, ASK_SECONDS)
    except (AirflowError, TimeoutError, asyncio.TimeoutError, ValueError) as error:
        logger.warning("a mail goes out without %s: %s", what, str(error) or type(error).__name__)
        return None
