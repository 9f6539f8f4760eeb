"""Hook objects to events: pure functions, one table. docs/events.md is the contract.

Every attribute is read with a default: the objects differ between Airflow's versions and between its
processes, and an event with a null in it is worth more than none.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from typing import Any

from windsock import error_text

Event = dict[str, Any]

JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode  # json.dumps makes one a call

MAX_NOTE = 2_000  # characters of Airflow's word for why a run ended
RUN_TIMES = (
    *("logical_date", "data_interval_start", "data_interval_end"),
    *("run_after", "queued_at", "start_date", "end_date"),
)


def digest(*parts: str) -> str:
    """Short and the same wherever it is built, whatever the names hold."""
    return hashlib.sha256(JSON(parts).encode("utf-8", "replace")).hexdigest()[:32]


def timestamp(moment: datetime | None) -> str | None:
    """UTC, six digits, Z. Airflow has no naive times; one without a zone is taken for UTC."""
    if moment is None:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return aware.astimezone(timezone.utc).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def serialize(event: Event) -> bytes:
    """UTF-8 JSON. Lone surrogates, which a file name or an error's text can hold, become question marks."""
    return JSON(event).encode("utf-8", "replace")


def dag_run(source: str, run: Any, msg: str | None = None, *, state: str) -> Event:
    times = {name: timestamp(getattr(run, name, None)) for name in RUN_TIMES}
    anchor = times["start_date"] or times["queued_at"] or ""
    data = {
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "state": state,
        "run_type": _value(getattr(run, "run_type", None)),
        **times,
        "message": error_text.head(msg, MAX_NOTE) or None if msg else None,
    }
    return _event(
        source,
        id=f"run:{digest(run.dag_id, run.run_id, anchor)}:{state}",
        type=f"airflow.dag_run.{state}",
        subject=f"{run.dag_id}/{run.run_id}",
        time=times["start_date"] if state == "running" else times["end_date"],
        data=data,
    )


def task_instance(source: str, previous_state: object, ti: Any, error: object = None, *, state: str) -> Event:
    # The hook says *failed* for every try that failed; its object says whether another try follows. A state
    # set by hand has no previous state, and its object may still hold the old one.
    if state == "failed" and previous_state is not None:
        state = _failed_or_retried(ti)
    map_index = -1 if getattr(ti, "map_index", None) is None else ti.map_index
    ti_id = _try_id(ti, state)
    start, end = (timestamp(getattr(ti, name, None)) for name in ("start_date", "end_date"))
    data = {
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        "task_id": ti.task_id,
        "map_index": map_index,
        "ti_id": ti_id,
        "try_number": ti.try_number,
        "max_tries": getattr(ti, "max_tries", 0),
        "state": state,
        "start_date": start,
        "end_date": None if state == "running" else end,
        "operator": getattr(ti, "operator", None) or getattr(getattr(ti, "task", None), "task_type", None),
        "hostname": getattr(ti, "hostname", None) or None,
        "error": error_text.describe(error),
    }
    return _event(
        source,
        id=f"task:{ti_id}:{state}",
        type=f"airflow.task_instance.{state}",
        subject=f"{ti.dag_id}/{ti.run_id}/{ti.task_id}" + (f"[{map_index}]" if map_index >= 0 else ""),
        time=start if state == "running" else end,
        data=data,
    )


def asset_created(source: str, asset: Any) -> Event:
    event_id = f"asset:{digest(asset.name, asset.uri)}:created"
    return _event(source, event_id, "airflow.asset.created", asset.uri, {"asset": _asset(asset)})


def asset_alias_created(source: str, asset_alias: Any) -> Event:
    alias = {"name": asset_alias.name, "group": getattr(asset_alias, "group", None)}
    event_id = f"asset_alias:{digest(asset_alias.name)}:created"
    return _event(source, event_id, "airflow.asset_alias.created", asset_alias.name, {"alias": alias})


def asset_nudge(source: str, asset: Any) -> Event:
    event_id = f"nudge:{uuid.uuid4()}"
    return _event(source, event_id, "windsock.asset.nudge", asset.uri, {"asset": _asset(asset)})


def import_error(source: str, filename: str, stacktrace: str) -> Event:
    # The reconciler's is the same: REST has the file's path inside its bundle only, and what differs from
    # parse to parse (addresses, the process that took too long) would make each parse an error of its own.
    same = re.sub(r"0x[0-9a-fA-F]+|(?<=PID: )[0-9]+", "*", stacktrace)
    event_id = f"import_error:{digest(filename.rpartition('/')[2], same)}"
    data = {
        "filename": filename,
        "bundle_name": None,
        "stacktrace": error_text.tail(stacktrace, error_text.MAX_TRACE),
        "error_id": event_id,
    }
    return _event(source, event_id, "airflow.dag.import_error", filename, data)


BUILDERS: dict[str, Callable[..., Event]] = {
    "on_dag_run_running": partial(dag_run, state="running"),
    "on_dag_run_success": partial(dag_run, state="success"),
    "on_dag_run_failed": partial(dag_run, state="failed"),
    "on_task_instance_running": partial(task_instance, state="running"),
    "on_task_instance_success": partial(task_instance, state="success"),
    "on_task_instance_failed": partial(task_instance, state="failed"),
    "on_task_instance_skipped": partial(task_instance, state="skipped"),
    "on_asset_created": asset_created,
    "on_asset_changed": asset_nudge,
    "on_asset_alias_created": asset_alias_created,
    "on_new_dag_import_error": import_error,
    "on_existing_dag_import_error": import_error,
}


def _failed_or_retried(ti: Any) -> str:
    """Raises ValueError where the object says neither: `failed` is never guessed, the reconciler knows."""
    state = _value(getattr(ti, "state", None))
    if state not in ("failed", "up_for_retry"):
        raise ValueError(
            f"a failed try of {ti.dag_id}.{ti.task_id} is in state {state!r}, not failed or up_for_retry"
        )
    return state


def _try_id(ti: Any, state: str) -> str:
    """The id of the try that the event is about. The scheduler, where it handles a killed task with a retry
    left, gives the object the next try's id before it calls the hook; SQLAlchemy remembers the loaded one."""
    loaded = getattr(getattr(ti, "_sa_instance_state", None), "committed_state", {}).get("id")
    value = loaded if state == "up_for_retry" and isinstance(loaded, (str, uuid.UUID)) else ti.id
    return str(uuid.UUID(str(value)))


def _asset(asset: Any) -> dict[str, Any]:
    return {"name": asset.name, "uri": asset.uri, "group": getattr(asset, "group", None)}


def _value(state: object) -> str | None:
    return None if state is None else str(getattr(state, "value", state))


def _event(source: str, id: str, type: str, subject: str, data: Event, time: str | None = None) -> Event:  # noqa: A002 (CloudEvents' own names)
    return {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": type,
        "subject": subject,
        "time": time or timestamp(datetime.now(timezone.utc)),
        "datacontenttype": "application/json",
        "data": {**data, "reported_by": "listener"},
    }
