"""One event of several as a row of a table: what it is of, and in a few words what happened."""

from sqlalchemy import Connection

from monitor import board
from monitor.board import RunName
from monitor.delivery.facts import by_end, run_of, task_of, told_task, trouble_of
from monitor.events import Event
from monitor.events.data import (
    AssetData,
    DagRunData,
    ImportErrorData,
    ImportErrorMendedData,
    TaskInstanceData,
    WatchData,
)
from monitor.render import Happening, Run
from monitor.render.marks import mark_of
from monitor.render.words import shortened

WORDS = 240  # characters of what happened
LOOKED_UP = 30  # happenings whose failed tasks are looked up: the latest ones


def happenings_of(connection: Connection, events: tuple[Event, ...]) -> tuple[Happening, ...]:
    first = max(0, len(events) - LOOKED_UP)
    return tuple(_happening(connection, event, number >= first) for number, event in enumerate(events))


def _happening(connection: Connection, event: Event, look_up: bool) -> Happening:
    row = Happening(
        event_id=event.id,
        type=event.type,
        at=event.time,
        subject=event.get("dag_id") or event.subject,
        what=event.type,
        mark=mark_of(event.type),
    )
    data = event.data
    if isinstance(data, DagRunData):
        what = _run_words(connection, event, data, look_up)
        return _with(row, what, run=run_of(event.deployment, data))
    if isinstance(data, TaskInstanceData):
        task = told_task(data)
        why = f": {task.error.headline}" if task.error and task.error.headline else ""
        run = Run(event.deployment, data.dag_id, data.run_id, data.state)
        return Happening(
            **{
                **vars(row),
                "what": shortened(f"{task.name} {data.state}{why}", WORDS),
                "run": run,
                "task": task,
            }
        )
    if isinstance(data, ImportErrorData):
        return _with(row, f"cannot be imported: {trouble_of(data).error.headline}")
    if isinstance(data, ImportErrorMendedData):
        return _with(row, "can be imported again")
    if isinstance(data, WatchData):
        return _with(row, data.what)
    if isinstance(data, AssetData):
        by = event.get("source_dag_id")
        return _with(row, "updated" + (f" by {by}" if by else ""))
    return _with(row, event.type.rpartition(".")[2].replace("_", " "))


def _with(row: Happening, what: str, run: Run | None = None) -> Happening:
    return Happening(**{**vars(row), "what": shortened(what, WORDS), "run": run})


def _run_words(connection: Connection, event: Event, data: DagRunData, look_up: bool) -> str:
    if data.state == "success":
        return "succeeded"
    if data.state != "failed" or not look_up:
        return data.state
    tasks = board.tasks(connection, RunName(event.deployment, data.dag_id, data.run_id))
    failed = [task_of(row) for row in tasks if row["state"] == "failed"]
    if not failed:
        return "failed"
    first = min(failed, key=by_end)
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    why = f": {first.error.headline}" if first.error and first.error.headline else ""
    return f"failed at {first.name}{more}{why}"
