"""What the monitor takes for an event: a typed view of a CloudEvent, or a reason why it is none."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from monitor.errors import EventError

NUDGE = "windsock.asset.nudge"
"""A hook's word that an asset was updated: it wakes the reconciler and is not logged."""

DEPLOYMENT = r"[A-Za-z0-9._-]{1,100}"
SOURCE = re.compile(rf"/airflow/({DEPLOYMENT})")
MAX_ID = 200  # ids are digests and UUIDs behind a short prefix
MAX_NAME = 2000  # subjects: three names
MAX_KEY = 250  # characters, as Airflow's own columns
MAX_URI = 1500  # characters, as Airflow's own column
MAX_TI_ID = 36  # a UUID
MAX_WORD = 50  # characters of a run type
MAX_REASONS = 3  # of a rejected event: enough to mend it, short enough to log
YEARS = range(1900, 9999)  # what every database and zone conversion can carry
SHOWN_VALUE = 80  # characters of a wrong value that its message repeats

RUN_STATES = ("running", "success", "failed")
TASK_STATES = ("running", "success", "failed", "skipped", "up_for_retry", "upstream_failed", "removed")


def _need_zone(value: Any) -> Any:
    """Refuse a time without a zone: guessing one would change the event's identity."""
    if not isinstance(value, str):
        raise ValueError("is not a text such as 2026-11-22T10:00:00.000000Z")  # noqa: TRY004 (pydantic's way)
    if not re.search(r"(Z|[+-]\d\d:?\d\d)$", value):
        raise ValueError("has no time zone; write UTC with a Z")
    return value


def _storable(value: datetime) -> datetime:
    if value.year not in YEARS:
        raise ValueError(f"is not within the years {YEARS.start} to {YEARS.stop - 1}")
    return value


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a NUL character")
    return value


def _without_nul(value: str) -> str:
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}")


Moment = Annotated[datetime, BeforeValidator(_need_zone), AfterValidator(_storable)]
_NoNul = AfterValidator(_no_nul)
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME), _NoNul]
Key = Annotated[str, StringConstraints(min_length=1, max_length=MAX_KEY), _NoNul]
"""What names a DAG, a run or a task."""
Uri = Annotated[str, StringConstraints(min_length=1, max_length=MAX_URI), _NoNul]
Text = Annotated[str, AfterValidator(_without_nul)]
"""Text for people; PostgreSQL keeps no NUL, and an error's text is worth more than its NUL."""
Count = Annotated[int, Field(ge=-1, le=2**31 - 1)]
"""What an INTEGER column holds; -1 is Airflow's "not mapped"."""


class _Data(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)  # fields are only ever added
    reported_by: Literal["listener", "reconciler", "monitor"]


class DagRunData(_Data):
    dag_id: Key
    run_id: Key
    state: Literal["running", "success", "failed"]
    run_type: Annotated[Text, StringConstraints(max_length=MAX_WORD)] | None = None
    logical_date: Moment | None = None
    data_interval_start: Moment | None = None
    data_interval_end: Moment | None = None
    run_after: Moment | None = None
    queued_at: Moment | None = None
    start_date: Moment | None = None
    end_date: Moment | None = None
    message: Text | None = None


class TaskError(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)
    type: Text | None = None
    message: Text
    traceback: Text | None = None


class TaskInstanceData(_Data):
    dag_id: Key
    run_id: Key
    task_id: Key
    ti_id: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TI_ID), _NoNul]
    map_index: Count = -1
    try_number: Count
    max_tries: Count = 0
    state: Literal["running", "success", "failed", "skipped", "up_for_retry", "upstream_failed", "removed"]
    start_date: Moment | None = None
    end_date: Moment | None = None
    operator: Text | None = None
    hostname: Text | None = None
    error: TaskError | None = None


class AssetRef(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)
    name: Name
    uri: Uri
    group: Text | None = None


class AliasRef(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)
    name: Name
    group: Text | None = None


class AssetData(_Data):
    asset: AssetRef


class AssetUpdatedData(AssetData):
    asset_event_id: int
    timestamp: Moment
    extra: dict[str, Any] = Field(default_factory=dict)
    source_dag_id: Key | None = None
    source_run_id: Key | None = None
    source_task_id: Key | None = None
    source_map_index: Count | None = None
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
    id: Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID), _NoNul]
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
        body=_encode(raw),
    )


def _encode(raw: dict[str, Any]) -> str:
    """The JSON that is kept and told. What JSON parsers let in beyond the standard is refused here, before
    it can stop a transaction or a reader's parser."""
    try:
        body = json.dumps(raw, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        body.encode()
    except UnicodeEncodeError:
        raise EventError("the event holds half of a surrogate pair, which is no character") from None
    except ValueError:
        raise EventError("the event holds NaN or Infinity, which JSON has no numbers for") from None
    except RecursionError:
        raise EventError("the event is nested too deeply") from None
    return body


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
