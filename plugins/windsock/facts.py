"""What a hook reads from Airflow's objects: the payload of an event, with times as the object has them.

The objects live on and change, so they are read in the hook; identity, envelope and the times' format are put
together by whoever has the time (events.py). Every attribute is read with a default: the objects differ
between Airflow's versions and between its processes, and a fact that is null is worth more than no event.

Code that has not run for a moment is some five times slower than in a loop, so each call that is spared
counts: what is loaded is taken from the object's own dict, past SQLAlchemy's descriptors.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from windsock import error_text

Facts = dict[str, Any]

MAX_NOTE = 2_000  # characters of Airflow's word for why a run ended
AIRFLOW_S_WORDS = frozenset({"success", "task_failure", "all_tasks_deadlocked", "timed_out"})  # no secrets
RUN_TIMES = (
    *("logical_date", "data_interval_start", "data_interval_end"),
    *("run_after", "queued_at", "start_date", "end_date"),
)
TASK_TIMES = ("start_date", "end_date")


def of_run(run: Any, msg: str | None = None, *, state: str) -> Facts:
    held = run.__dict__
    facts = {"dag_id": run.dag_id, "run_id": run.run_id, "state": state}
    facts["run_type"] = value(held["run_type"] if "run_type" in held else getattr(run, "run_type", None))
    for name in RUN_TIMES:
        moment = held[name] if name in held else getattr(run, name, None)
        facts[name] = None if moment is None else moment.isoformat()
    facts["message"] = msg if msg in AIRFLOW_S_WORDS else _masked(msg)
    return facts


def of_task(previous_state: object, ti: Any, error: object = None, *, state: str) -> Facts:
    """Raises ValueError where a failed try's object says neither that it is over nor that one follows."""
    # The hook says *failed* for every try that failed; its object says whether another try follows. A state
    # set by hand has no previous state, and its object may still hold the old one.
    if state == "failed" and previous_state is not None:
        state = _failed_or_retried(ti)
    get = _reader(ti)
    map_index = get("map_index")
    return {
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        "task_id": ti.task_id,
        "map_index": -1 if map_index is None else map_index,
        "ti_id": _try_id(ti, state),
        "try_number": ti.try_number,
        "max_tries": get("max_tries", 0),
        "state": state,
        "start_date": _text(get("start_date")),
        "end_date": None if state == "running" else _text(get("end_date")),
        "operator": get("operator") or getattr(get("task"), "task_type", None),
        "hostname": get("hostname") or None,
        "error": error_text.describe(error),
    }


def of_asset(asset: Any) -> Facts:
    return {"asset": {"name": asset.name, "uri": asset.uri, "group": getattr(asset, "group", None)}}


def of_alias(alias: Any) -> Facts:
    return {"alias": {"name": alias.name, "group": getattr(alias, "group", None)}}


def value(state: object) -> str | None:
    """The text of one of Airflow's enumerations."""
    return None if state is None else str(getattr(state, "value", state))


def _reader(subject: Any) -> Callable[..., Any]:
    """`getattr` with None as the default; what is not in the object's dict is asked of the object itself."""
    held = subject.__dict__

    def get(name: str, default: Any = None) -> Any:
        return held[name] if name in held else getattr(subject, name, default)

    return get


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _masked(msg: str | None) -> str | None:
    return error_text.head(msg, MAX_NOTE) or None if msg else None


def _failed_or_retried(ti: Any) -> str:
    """Raises ValueError where the object says neither: `failed` is never guessed, the reconciler knows."""
    state = value(getattr(ti, "state", None))
    if state not in ("failed", "up_for_retry"):
        raise ValueError(
            f"a failed try of {ti.dag_id}.{ti.task_id} is in state {state!r}, not failed or up_for_retry"
        )
    return state


def _try_id(ti: Any, state: str) -> str:
    """The id of the try that the event is about. The scheduler, where it handles a killed task with a retry
    left, gives the object the next try's id before it calls the hook; SQLAlchemy remembers the loaded one."""
    found = ti.id
    if state == "up_for_retry":
        loaded = getattr(getattr(ti, "_sa_instance_state", None), "committed_state", {}).get("id")
        found = loaded if isinstance(loaded, (str, uuid.UUID)) else found
    return str(found if isinstance(found, uuid.UUID) else uuid.UUID(str(found)))
