"""The event, its parser, and its trace context.

`parse_event` checks a decoded JSON value against the contract and makes an `Event`.

`trace_of` gives the event's own traceparent, or the traceparent that all events of its run share. The plugin
has its own implementation (plugins/airflow_windsock/traces.py). docs/events.md defines the recipe for both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from monitor.bounded_json import is_deeper
from monitor.errors import EventError
from monitor.events.data import DATA, SHOWN_VALUE, AssetRef, Data, Id, Moment, Name, TaskInstanceData
from monitor.events.identity import TRY, sha256_of, stamp

ATTRIBUTE = "traceparent"
MAX_LENGTH = 200  # characters: version 00 has 55, and later ones may append some
_FORM = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


def valid(value: object) -> str | None:
    """Return the value if it is a traceparent, else None.
    Version 00 has four parts. Parts that later versions append are accepted."""
    if not isinstance(value, str) or len(value) > MAX_LENGTH:
        return None
    found = _FORM.fullmatch(value)
    return value if found and not (found[1] == "00" and found[2]) else None


SOURCE = "/airflow/"
DEPLOYMENT = r"[A-Za-z0-9._-]{1,100}"
MAX_REASONS = 3  # of a rejected event: enough to mend it, short enough to log
MAX_DEPTH = 32  # levels of JSON: an asset's extra has a few, and every parser of a subscriber takes as many


class _Envelope(BaseModel):
    model_config = ConfigDict(extra="allow")
    specversion: Literal["1.0"]
    id: Id
    source: Annotated[str, StringConstraints(pattern=rf"^/airflow/{DEPLOYMENT}$")]
    type: str
    subject: Name
    time: Moment
    datacontenttype: Literal["application/json"] = "application/json"
    data: dict[str, Any]


@dataclass(frozen=True)
class Event:
    """An event: the attributes that searches use, the typed data, and the JSON that subscribers get."""

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: Data
    body: str
    traceparent: str | None = None
    """The reported traceparent, if it is a valid one."""

    @property
    def deployment(self) -> str:
        """The Airflow deployment that the event is from."""
        return self.source[len(SOURCE) :]

    @property
    def fields(self) -> Mapping[str, Any]:
        """The declared fields of the data. A sender's others were not checked, and nothing reads them."""
        return vars(self.data)

    def get(self, name: str) -> Any:
        """Return a declared field of the data, or None if this type has no such field."""
        return vars(self.data).get(name)  # getattr takes as long as all the rest if there is no such field

    @property
    def dag_id(self) -> str | None:
        """The DAG that it is of, whose readers may read it: an asset's update is of the DAG that made it."""
        found: str | None = self.get("dag_id") or self.get("source_dag_id")
        return found

    @property
    def asset_uri(self) -> str | None:
        """The URI of the asset that the event is about, or None."""
        asset = self.get("asset")
        return asset.uri if isinstance(asset, AssetRef) else None

    def passed(self, moment: datetime | None) -> datetime | None:
        """Return a date of the data, at most the event's own time.
        A date in the future would make one run the latest for ever."""
        return moment and min(moment, self.time)

    def rename(self, event_id: str) -> Event:
        """Return the same event under another id."""
        return self.correct(event_id)

    def correct(self, event_id: str, time: datetime | None = None, **data: str) -> Event:
        """Return the event with this id, this time unless it is None, and these fields of its data."""
        time = time or self.time
        if (event_id, time) == (self.id, self.time) and all(self.get(name) == data[name] for name in data):
            return self
        body = json.loads(self.body)
        body = {**body, "id": event_id, "time": stamp(time), "data": {**body["data"], **data}}
        typed = self.data.model_copy(update=data) if data else self.data
        return replace(self, id=event_id, time=time, data=typed, body=_encode(body))


def parse_event(raw: object) -> Event:
    """Check one decoded JSON value against the contract.

    Raises EventError with each wrong field, its value and what it should be.
    """
    if not isinstance(raw, dict):
        raise EventError(f"an event is a JSON object, this is {type(raw).__name__}")
    body = _encode(raw)
    try:
        envelope = _Envelope.model_validate(raw)
        shape = _shape_of(envelope.type)
        data = shape.model_validate(envelope.data)
    except ValidationError as error:
        raise EventError(_reasons(error)) from None
    _check_state(envelope.type, data)
    _check_try(envelope.id, data)
    return Event(
        id=envelope.id,
        source=envelope.source,
        type=envelope.type,
        subject=envelope.subject,
        time=envelope.time,
        data=data,
        body=body,
        traceparent=valid(raw.get(ATTRIBUTE)),
    )


_write_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _encode(raw: dict[str, Any]) -> str:
    """Return the JSON that is logged and reported.

    Raises EventError for what JSON parsers let in beyond the standard, and for what is nested too deeply,
    before it can stop a transaction or a subscriber's parser.
    """
    try:
        body = _write_json(raw)
        body.encode()
    except UnicodeEncodeError:
        raise EventError("the event holds half of a surrogate pair, which is no character") from None
    except ValueError:
        raise EventError("the event holds NaN or Infinity, which JSON has no numbers for") from None
    except RecursionError:
        raise EventError("the event is nested too deeply") from None
    if body.count("{") + body.count("[") > MAX_DEPTH:  # few events hold so many, and to walk one takes longer
        check_depth(raw, MAX_DEPTH)
    return body


def check_depth(raw: dict[str, Any], most: int) -> None:
    """Raise EventError if lists and objects are nested more than `most` levels deep in it."""
    if is_deeper(raw, most):
        raise EventError(f"the event is nested more than {most} levels deep")


def _shape_of(event_type: str) -> type[Data]:
    try:
        return DATA[event_type]
    except KeyError:
        text = event_type[:SHOWN_VALUE]
        raise EventError(
            f"type: {text!r} is not known to this monitor; a newer plugin needs a newer monitor"
        ) from None


def _check_state(event_type: str, data: Data) -> None:
    """Raise EventError if the state in the type differs from the state in the data."""
    state = vars(data).get("state")
    if state is not None and not event_type.endswith(f".{state}"):
        raise EventError(f"data.state: {state!r} does not fit the type {event_type!r}")


def _check_try(event_id: str, data: Data) -> None:
    """Raise EventError if the id does not fit the try.
    A try is named by its UUID. Only a try that was reported without a UUID has an id made of other names."""
    if isinstance(data, TaskInstanceData) and (data.ti_id is None) != event_id.startswith(TRY):
        raise EventError(
            f"data.ti_id: {data.ti_id!r} does not fit the id {event_id[:SHOWN_VALUE]!r}; "
            f"null belongs to ids that begin with {TRY!r}, a UUID to all others"
        )


def _reasons(error: ValidationError) -> str:
    """Return the field, the fault and the value of the first few mistakes."""
    reasons = []
    inside_data = error.title != "_Envelope"
    for mistake in error.errors(include_url=False, include_context=False)[:MAX_REASONS]:
        where = ".".join(str(part) for part in mistake["loc"])
        value = "" if mistake["type"] == "missing" else f" (got {str(mistake['input'])[:SHOWN_VALUE]!r})"
        reasons.append(f"{'data.' if inside_data else ''}{where}: {mistake['msg']}{value}")
    return "; ".join(reasons)


def trace_of(event: Event) -> str:
    """Return the event's own traceparent, or the one that all events of its run share."""
    if event.traceparent:
        return event.traceparent
    dag_id, run_id = event.dag_id, event.get("run_id")
    return derive_traceparent(
        *((event.source, dag_id, run_id) if dag_id and run_id else (event.source, event.id))
    )


def derive_traceparent(*parts: str) -> str:
    """Return a traceparent that is the same for the same parts."""
    digits = sha256_of(parts)
    return f"00-{digits[:32]}-{digits[32:48]}-01"
