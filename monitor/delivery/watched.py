"""What a watch found, and the main fields of any other event, as labels and values."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from monitor.delivery.masks import shown_under
from monitor.events import Event
from monitor.events.data import ComponentUnhealthyData, Data, WatchData
from monitor.events.values import Moment
from monitor.render import Fact, Value, Watch
from monitor.render.words import shortened

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
TOLD_APART = frozenset(
    {"what", "watch", "since", "reported_by", "asset", "asset_event_id", "ended", "is_certain"}
)
OF_THE_RUN = frozenset({"dag_id", "run_id", "run_type", "start_date", "queued_at"})
"""What a mail about a watch tells of its run elsewhere."""

_RESTART = "Look at its log, and start it again: `airflow {}`, its container, pod or service."
ADVICE = {
    "scheduler": "No run begins and no task is started until it runs. " + _RESTART.format("scheduler"),
    "triggerer": "Deferred tasks wait until it runs, and time out then. " + _RESTART.format("triggerer"),
    "dag_processor": "No change of a DAG's file is taken up until it runs. "
    + _RESTART.format("dag-processor"),
}

_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


def watch_of(event: Event, data: WatchData) -> Watch:
    return Watch(
        what=data.what,
        kind=event.type.rpartition(".")[2].replace("_", " "),
        since=data.since,
        name=data.watch,
        facts=tuple(_facts(data, TOLD_APART | OF_THE_RUN)),
        advice=_advice(data),
    )


def _advice(data: WatchData) -> str | None:
    return ADVICE.get(data.component) if isinstance(data, ComponentUnhealthyData) else None


def facts_of(data: Data) -> tuple[Fact, ...]:
    """The main fields of an event that has no form of its own."""
    return tuple(_facts(data, TOLD_APART))


def _facts(data: Data, without: frozenset[str]) -> Iterator[Fact]:
    fields = {name: value for name, value in _fields(data) if name not in without and value is not None}
    for name in list(fields)[:MAX_FACTS]:
        yield Fact(_label(name), _value(name, fields[name]))


def _fields(data: Data) -> Iterator[tuple[str, Any]]:
    """An inner record's fields beside the others."""
    for name, value in data:
        inner = value if isinstance(value, BaseModel) else None
        if inner is None:
            yield name, value
        else:
            yield from ((f"{name}_{key}", each) for key, each in inner)
    yield from (data.model_extra or {}).items()


def _label(name: str) -> str:
    plain = name.removesuffix(SECONDS).replace("_", " ")
    return LABELS.get(name) or shortened(plain[:1].upper() + plain[1:], 40)


def _value(name: str, value: Any) -> Value:
    if name.endswith(SECONDS) and isinstance(value, int | float):
        return timedelta(seconds=min(abs(value), timedelta.max.total_seconds() / 2))
    if isinstance(value, datetime):
        return value
    if isinstance(value, str) and (moment := _moment(value)):
        return moment
    return shortened(shown_under(name, _plain(value)), VALUE_LENGTH)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _moment(text: str) -> datetime | None:
    try:
        return _MOMENT.validate_python(text)
    except ValidationError:
        return None
