"""The summaries of events, each a line of a message."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlalchemy import Connection

from monitor.delivery.messages.facts import mask_field, run_of, task_of, task_of_event, trouble_of
from monitor.delivery.messages.filters import mark_of, shorten
from monitor.delivery.messages.model import EventSummary, Fact, RunInfo, Value, WatchInfo
from monitor.event_log.projections import runs
from monitor.event_log.projections.runs import RunName
from monitor.events.data import (
    AssetData,
    ComponentUnhealthyData,
    DagRunData,
    Data,
    ImportErrorData,
    ImportErrorMendedData,
    Moment,
    TaskInstanceData,
    WatchData,
)
from monitor.events.event import Event

WORDS = 240  # characters of what happened
LOOKED_UP = 30  # happenings whose failed tasks are looked up: the latest ones


def summarize_events(connection: Connection, events: tuple[Event, ...]) -> tuple[EventSummary, ...]:
    """Return the summaries of events. Only the last LOOKED_UP are looked up in the read models."""
    first = max(0, len(events) - LOOKED_UP)
    return tuple(_summarize_event(connection, event, number >= first) for number, event in enumerate(events))


def _summarize_event(connection: Connection, event: Event, look_up: bool) -> EventSummary:
    row = EventSummary(
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
        return _complete_summary(row, what, run=run_of(event.deployment, data))
    if isinstance(data, TaskInstanceData):
        task = task_of_event(data)
        why = f": {task.error.headline}" if task.error and task.error.headline else ""
        run = RunInfo(event.deployment, data.dag_id, data.run_id, data.state)
        return EventSummary(
            **{
                **vars(row),
                "what": shorten(f"{task.name} {data.state}{why}", WORDS),
                "run": run,
                "task": task,
            }
        )
    if isinstance(data, ImportErrorData):
        return _complete_summary(row, f"cannot be imported: {trouble_of(data).error.headline}")
    if isinstance(data, ImportErrorMendedData):
        return _complete_summary(row, "can be imported again")
    if isinstance(data, WatchData):
        return _complete_summary(row, data.what)
    if isinstance(data, AssetData):
        by = event.get("source_dag_id")
        return _complete_summary(row, "updated" + (f" by {by}" if by else ""))
    return _complete_summary(row, event.type.rpartition(".")[2].replace("_", " "))


def _complete_summary(row: EventSummary, what: str, run: RunInfo | None = None) -> EventSummary:
    return EventSummary(**{**vars(row), "what": shorten(what, WORDS), "run": run})


def _run_words(connection: Connection, event: Event, data: DagRunData, look_up: bool) -> str:
    if data.state == "success":
        return "succeeded"
    if data.state != "failed" or not look_up:
        return data.state
    name = RunName(event.deployment, data.dag_id, data.run_id)
    row = runs.first_failure(connection, name)
    if row is None:
        return "failed"
    first, number = task_of(row), runs.count_tasks(connection, name)["failed"]
    more = f" and {number - 1} more" if number > 1 else ""
    why = f": {first.error.headline}" if first.error and first.error.headline else ""
    return f"failed at {first.name}{more}{why}"


MAX_FACTS = 14
VALUE_LENGTH = 300
SECONDS = "_seconds"

LABELS = {
    "after_seconds": "Bound",
    "usual_seconds": "Usual",
    "spread_seconds": "Usual spread",
    "running_seconds": "Running for",
    "lasted_seconds": "Lasted",
    "expected_at": "Expected",
    "queued_at": "Queued",
    "updated_at": "Last update",
    "start_date": "Began",
    "dag_id": "DAG",
    "run_id": "Run",
    "runs": "Runs compared",
    "intervals": "Intervals compared",
    "run_type": "Type",
    "delivery_id": "Delivery",
    "remedy": "What to do",
    "latest_heartbeat": "Latest heartbeat",
}
SHOWN_ELSEWHERE = frozenset(
    {"what", "watch", "since", "reported_by", "asset", "asset_event_id", "ended", "is_certain"}
)
OF_THE_RUN = frozenset({"dag_id", "run_id", "run_type", "start_date", "queued_at"})
"""The fields that a mail about a watch shows in its part about the run."""

_RESTART = "Look at its log, and start it again: `airflow {}`, its container, pod or service."
ADVICE = {
    "scheduler": "No run begins and no task is started until it runs. " + _RESTART.format("scheduler"),
    "triggerer": "Deferred tasks wait until it runs, and time out then. " + _RESTART.format("triggerer"),
    "dag_processor": "No change of a DAG's file is taken up until it runs. "
    + _RESTART.format("dag-processor"),
}

_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


def watch_of(event: Event, data: WatchData) -> WatchInfo:
    """Return what a message shows of a watch's finding."""
    return WatchInfo(
        what=data.what,
        kind=event.type.rpartition(".")[2].replace("_", " "),
        since=data.since,
        name=data.watch,
        facts=tuple(_facts(data, SHOWN_ELSEWHERE | OF_THE_RUN)),
        advice=_advice(data),
    )


def _advice(data: WatchData) -> str | None:
    return ADVICE.get(data.component) if isinstance(data, ComponentUnhealthyData) else None


def facts_of(data: Data) -> tuple[Fact, ...]:
    """Return the main fields of an event that has no form of its own."""
    return tuple(_facts(data, SHOWN_ELSEWHERE))


def _facts(data: Data, without: frozenset[str]) -> Iterator[Fact]:
    fields = {name: value for name, value in _fields(data) if name not in without and value is not None}
    for name in list(fields)[:MAX_FACTS]:
        yield Fact(_label(name), _value(name, fields[name]))


def _fields(data: Data) -> Iterator[tuple[str, Any]]:
    """Yield the fields, with an inner record's fields among the others."""
    for name, value in data:
        inner = value if isinstance(value, BaseModel) else None
        if inner is None:
            yield name, value
        else:
            yield from ((f"{name}_{key}", item) for key, item in inner)
    yield from (data.model_extra or {}).items()


def _label(name: str) -> str:
    plain = name.removesuffix(SECONDS).replace("_", " ")
    return LABELS.get(name) or shorten(plain[:1].upper() + plain[1:], 40)


def _value(name: str, value: Any) -> Value:
    if name.endswith(SECONDS) and isinstance(value, int | float):
        return timedelta(seconds=min(abs(value), timedelta.max.total_seconds() / 2))
    if isinstance(value, datetime):
        return value
    if isinstance(value, str) and (moment := _moment(value)):
        return moment
    return shorten(mask_field(name, _plain(value)), VALUE_LENGTH)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _moment(text: str) -> datetime | None:
    try:
        return _MOMENT.validate_python(text)
    except ValidationError:
        return None
