"""What the monitor takes for an event: a typed view of a CloudEvent, or a reason why it is none."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from monitor.errors import EventError

NUDGE = "windsock.asset.nudge"
"""A hook's word that an asset was updated: it wakes the reconciler and is not logged."""

DEPLOYMENT = r"[A-Za-z0-9._-]{1,100}"
SOURCE = re.compile(rf"/airflow/({DEPLOYMENT})")
MAX_ID = 200  # ids are digests and UUIDs behind a short prefix
MAX_NAME = 2000  # Airflow's own names end at 250 characters, asset URIs at 1,500
MAX_REASONS = 3  # of a rejected event: enough to mend it, short enough to log
SHOWN_VALUE = 80  # characters of a wrong value that its message repeats

RUN_STATES = ("running", "success", "failed")
TASK_STATES = ("running", "success", "failed", "skipped", "up_for_retry", "upstream_failed", "removed")


def _need_zone(value: Any) -> Any:
    """Refuse a time without a zone: guessing one would change the event's identity."""
    if isinstance(value, str) and not re.search(r"(Z|[+-]\d\d:?\d\d)$", value):
        raise ValueError("has no time zone; write UTC with a Z")
    return value


Moment = Annotated[datetime, BeforeValidator(_need_zone)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)]


class _Data(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)  # fields are only ever added
    reported_by: Literal["listener", "reconciler", "monitor"]


class DagRunData(_Data):
    dag_id: Name
    run_id: Name
    state: Literal["running", "success", "failed"]
    run_type: str | None = None
    logical_date: Moment | None = None
    data_interval_start: Moment | None = None
    data_interval_end: Moment | None = None
    run_after: Moment | None = None
    queued_at: Moment | None = None
    start_date: Moment | None = None
    end_date: Moment | None = None
    message: str | None = None


class TaskError(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)
    type: str | None = None
    message: str
    traceback: str | None = None


class TaskInstanceData(_Data):
    dag_id: Name
    run_id: Name
    task_id: Name
    ti_id: Name
    map_index: int = -1
    try_number: int
    max_tries: int = 0
    state: Literal["running", "success", "failed", "skipped", "up_for_retry", "upstream_failed", "removed"]
    start_date: Moment | None = None
    end_date: Moment | None = None
    operator: str | None = None
    hostname: str | None = None
    error: TaskError | None = None


class AssetRef(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)
    name: Name
    uri: Name
    group: str | None = None


class AliasRef(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)
    name: Name
    group: str | None = None


class AssetData(_Data):
    asset: AssetRef


class AssetUpdatedData(AssetData):
    asset_event_id: int
    timestamp: Moment
    extra: dict[str, Any] = Field(default_factory=dict)
    source_dag_id: str | None = None
    source_run_id: str | None = None
    source_task_id: str | None = None
    source_map_index: int | None = None
    created_dagruns: list[dict[str, Any]] = Field(default_factory=list)


class AliasData(_Data):
    alias: AliasRef


class ImportErrorData(_Data):
    filename: Name
    bundle_name: str | None = None
    stacktrace: str


DATA: dict[str, type[_Data]] = {
    **{f"airflow.dag_run.{state}": DagRunData for state in RUN_STATES},
    **{f"airflow.task_instance.{state}": TaskInstanceData for state in TASK_STATES},
    "airflow.asset.updated": AssetUpdatedData,
    "airflow.asset.created": AssetData,
    "airflow.asset_alias.created": AliasData,
    "airflow.dag.import_error": ImportErrorData,
    NUDGE: AssetData,
}
"""Every type that the monitor takes, and the shape of its data."""


class _Envelope(BaseModel):
    model_config = ConfigDict(extra="allow")
    specversion: Literal["1.0"]
    id: Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID)]
    source: Annotated[str, StringConstraints(pattern=rf"^/airflow/{DEPLOYMENT}$")]
    type: str
    subject: Name
    time: Moment
    datacontenttype: Literal["application/json"] = "application/json"
    data: dict[str, Any]


@dataclass(frozen=True)
class Event:
    """One event: the attributes that the log is searched by, the typed data, and the JSON as it is told."""

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: _Data
    body: str

    @property
    def deployment(self) -> str:
        return self.source.removeprefix("/airflow/")

    def get(self, name: str) -> Any:
        """A field of the data, or None where this type has no such field."""
        return getattr(self.data, name, None)

    @property
    def asset_uri(self) -> str | None:
        asset = self.get("asset")
        return asset.uri if isinstance(asset, AssetRef) else None


def parse_event(raw: object) -> Event:
    """Check one decoded JSON value against the contract.

    Raises EventError with each wrong field, its value and what it should be.
    """
    if not isinstance(raw, dict):
        raise EventError(f"an event is a JSON object, this is {type(raw).__name__}")
    try:
        envelope = _Envelope.model_validate(raw)
        shape = _shape_of(envelope.type)
        data = shape.model_validate(envelope.data)
    except ValidationError as error:
        raise EventError(_reasons(error)) from None
    _check_state(envelope.type, data)
    return Event(
        id=envelope.id,
        source=envelope.source,
        type=envelope.type,
        subject=envelope.subject,
        time=envelope.time,
        data=data,
        body=json.dumps(raw, ensure_ascii=False, separators=(",", ":")),
    )


def _shape_of(event_type: str) -> type[_Data]:
    try:
        return DATA[event_type]
    except KeyError:
        shown = event_type[:SHOWN_VALUE]
        raise EventError(
            f"type: {shown!r} is not known to this monitor; a newer plugin needs a newer monitor"
        ) from None


def _check_state(event_type: str, data: _Data) -> None:
    """The state stands twice, in the type and in the data: a sender that says two things is refused."""
    state = getattr(data, "state", None)
    if state is not None and not event_type.endswith(f".{state}"):
        raise EventError(f"data.state: {state!r} does not fit the type {event_type!r}")


def _reasons(error: ValidationError) -> str:
    """The field, what is wrong with it, and the value, of the first few mistakes."""
    told = []
    inside_data = error.title != "_Envelope"
    for mistake in error.errors(include_url=False, include_context=False)[:MAX_REASONS]:
        where = ".".join(str(part) for part in mistake["loc"])
        value = "" if mistake["type"] == "missing" else f" (got {str(mistake['input'])[:SHOWN_VALUE]!r})"
        told.append(f"{'data.' if inside_data else ''}{where}: {mistake['msg']}{value}")
    return "; ".join(told)
