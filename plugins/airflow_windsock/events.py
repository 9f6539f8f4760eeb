"""The building of events from reports, by the contract of docs/events.md: pure functions, one table.

A hook leaves a *report*: its kind, the source and the values that it read (facts.py), as a list for JSON.
`event` makes the event of a report. It runs in another thread, or in another process after a death, and the
result is the same.

The builders also compute the ids of events. monitor/events/identity.py computes them again from the same
values. The golden events in tests/contract hold both to the recipe in docs/events.md.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from functools import partial
from time import time_ns
from typing import Any, cast

from airflow_windsock import error_text, facts, traces
from airflow_windsock.facts import RUN_TIMES, TASK_TIMES, Facts, Read

Event = dict[str, Any]
Report = tuple[str, str, Any] | tuple[str, str, Any, str]
"""Kind, source and what was read, as the kind's builder takes it: what is kept of a hook's call. Where traces
are on, also the traceparent that Airflow gave, or nothing."""


def _encoder() -> Callable[[Any, int], Iterable[str]]:
    """Return an encoder of JSON without spaces.
    The standard library's encoder makes a C encoder for each call. One C encoder for all calls takes half
    the time. If it cannot be had, the standard library's own way is used."""
    plain = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=facts.plain)
    try:
        make = json.encoder.c_make_encoder  # type: ignore[attr-defined]
        encode = make(None, plain.default, json.encoder.encode_basestring, None, ":", ",", False, False, True)
        encode({"a": [1]}, 0)
    except (AttributeError, TypeError):
        return lambda document, _level: (plain.encode(document),)
    return cast("Callable[[Any, int], Iterable[str]]", encode)


ENCODE = _encoder()


def digest(*parts: str) -> str:
    """Return a short digest that is the same on every machine, whatever characters the names hold."""
    return hashlib.sha256(serialize(parts)).hexdigest()[:32]


def timestamp(moment: datetime | None) -> str | None:
    """Return the moment in UTC with six digits and Z.
    Airflow has no naive times. A time without a zone is taken for UTC."""
    if moment is None:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return aware.astimezone(timezone.utc).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def serialize(document: Event | Report | tuple[str, ...]) -> bytes:
    """Return the document as UTF-8 JSON.
    Lone surrogates, which a file name or an error's text can hold, become question marks."""
    return "".join(ENCODE(document, 0)).encode("utf-8", "replace")


def event(report: Report, nanoseconds: int) -> Event:
    """Return the event of what a hook reported at that moment."""
    kind, source, facts, *trace = report
    data = KINDS[kind](source, facts)
    if trace:
        data[traces.ATTRIBUTE] = trace[0] or traces.derive_traceparent(data)
    return data if data["time"] else {**data, "time": _format_moment(nanoseconds)}


def complete_event(body: bytes, nanoseconds: int) -> bytes:
    """Return the event's JSON for what was kept of a hook's call at that moment.
    A body that is neither report nor event stays as it is. The spool's reader sets it aside with the reason.
    """
    if not body.startswith(b"["):
        return body
    try:
        return serialize(event(json.loads(body), nanoseconds))
    except (ValueError, LookupError, TypeError, AttributeError):
        return body


def dag_run(source: str, read: Read) -> Event:
    """Return the event of a DAG run's state."""
    run = facts.run(read)
    data = {**run, **_times(run, RUN_TIMES)}
    state, anchor = run["state"], data["start_date"] or data["queued_at"] or ""
    return _event(
        source,
        id=f"run:{digest(run['dag_id'], run['run_id'], anchor)}:{state}",
        type=f"airflow.dag_run.{state}",
        subject=f"{run['dag_id']}/{run['run_id']}",
        time=data["start_date"] if state == "running" else data["end_date"],
        data=data,
    )


def task_instance(source: str, read: Read) -> Event:
    """Return the event of a task's state."""
    ti = facts.task(read)
    data = {**ti, **_times(ti, TASK_TIMES)}
    state, index = ti["state"], f"[{ti['map_index']}]" if ti["map_index"] >= 0 else ""
    return _event(
        source,
        id=f"task:{ti['ti_id']}:{state}",
        type=f"airflow.task_instance.{state}",
        subject=f"{ti['dag_id']}/{ti['run_id']}/{ti['task_id']}{index}",
        time=data["start_date"] if state == "running" else data["end_date"],
        data=data,
    )


def asset_created(source: str, data: Facts) -> Event:
    """Return the event of a new asset."""
    asset = data["asset"]
    event_id = f"asset:{digest(asset['name'], asset['uri'])}:created"
    return _event(source, event_id, "airflow.asset.created", asset["uri"], data)


def asset_alias_created(source: str, data: Facts) -> Event:
    """Return the event of a new asset alias."""
    name = data["alias"]["name"]
    return _event(source, f"asset_alias:{digest(name)}:created", "airflow.asset_alias.created", name, data)


def asset_nudge(source: str, data: Facts) -> Event:
    """Return the nudge that makes the monitor look for an asset's update in Airflow."""
    return _event(source, f"nudge:{uuid.uuid4()}", "windsock.asset.nudge", data["asset"]["uri"], data)


def import_error(source: str, filename: str, stacktrace: str) -> Event:
    """Return the event of an import error. Its id is the same for each parse of the same error."""
    # Parts that differ from parse to parse (addresses, the process that took too long) would make each parse
    # an error of its own. The hook knows no bundle. The monitor finds out which file within it that is.
    same = re.sub(r"0x[0-9a-fA-F]+|(?<=PID: )[0-9]+", "*", stacktrace)
    event_id = f"import_error:{digest('', filename)}:{digest(same)}"
    data = {
        "filename": filename,
        "bundle_name": None,
        "stacktrace": error_text.tail(stacktrace, error_text.MAX_TRACE),
        "error_id": event_id,
    }
    return _event(source, event_id, "airflow.dag.import_error", filename, data)


KINDS: dict[str, Callable[[str, Any], Event]] = {
    "run": dag_run,
    "task": task_instance,
    "asset": asset_created,
    "alias": asset_alias_created,
    "nudge": asset_nudge,
}
READERS: dict[str, tuple[str, Callable[..., Facts | Read]]] = {
    "on_dag_run_running": ("run", partial(facts.read_run, state="running")),
    "on_dag_run_success": ("run", partial(facts.read_run, state="success")),
    "on_dag_run_failed": ("run", partial(facts.read_run, state="failed")),
    "on_task_instance_running": ("task", partial(facts.read_task, state="running")),
    "on_task_instance_success": ("task", partial(facts.read_task, state="success")),
    "on_task_instance_failed": ("task", partial(facts.read_task, state="failed")),
    "on_task_instance_skipped": ("task", partial(facts.read_task, state="skipped")),
    "on_asset_created": ("asset", facts.read_asset),
    "on_asset_changed": ("nudge", facts.read_asset),
    "on_asset_alias_created": ("alias", facts.read_alias),
}
IMPORT_ERRORS = ("on_new_dag_import_error", "on_existing_dag_import_error")
HOOKS = (*READERS, *IMPORT_ERRORS)


def report(hook: str, source: str, *objects: Any) -> Report | Event:
    """Return what to keep of a call of that hook.
    An import error becomes an event at once, because its identity comes from a text that is too long to
    keep."""
    if hook in READERS:
        kind, read = READERS[hook]
        return kind, source, read(*objects)
    return {**import_error(source, *objects), "time": _format_moment(time_ns())}


def report_with_trace(hook: str, source: str, *objects: Any) -> Report | Event:
    """Return what `report` returns, with the trace that the run or task belongs to."""
    reported = report(hook, source, *objects)
    if isinstance(reported, dict):
        return {**reported, traces.ATTRIBUTE: traces.derive_traceparent(reported)}
    kind, source, facts, *_ = reported
    return kind, source, facts, traces.read_traceparent(objects)


def _times(facts: Facts, names: tuple[str, ...]) -> Facts:
    return {name: timestamp(datetime.fromisoformat(facts[name])) if facts[name] else None for name in names}


def _format_moment(nanoseconds: int) -> str | None:
    seconds, rest = divmod(nanoseconds, 10**9)
    return timestamp(datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=rest // 1000))


def _event(source: str, id: str, type: str, subject: str, data: Facts, time: str | None = None) -> Event:  # noqa: A002 (CloudEvents' own names)
    """Return a CloudEvent. A `time` of None means the moment of the report, which `event` knows."""
    return {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": type,
        "subject": subject,
        "time": time,
        "datacontenttype": "application/json",
        "data": {**data, "reported_by": "listener"},
    }
