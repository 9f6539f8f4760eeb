"""The values that a hook reads from Airflow's objects, and the payload of an event that they become.

The objects live on and change, so `read_run`, `read_task`, `read_asset` and `read_alias` read them in the
hook. Names, identity, envelope and the format of times are added later (`run`, `task` and events.py). A
value that an Airflow version or process lacks is null, because an event without it is better than no event.

Code that has not run for a moment is about five times slower than in a loop, so every saved call counts.
Loaded values are read from the object's own dict, without SQLAlchemy's descriptors.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import Enum
from typing import Any

from airflow_windsock import error_text

Facts = dict[str, Any]
Read = list[Any]
"""The values that `read_run` or `read_task` read, for JSON. Their names are known to `run` and `task`."""

MAX_NOTE = 2_000  # characters of Airflow's word for why a run ended
AIRFLOW_S_WORDS = frozenset({"success", "task_failure", "all_tasks_deadlocked", "timed_out"})  # no secrets
RUN_TIMES = (
    *("logical_date", "data_interval_start", "data_interval_end"),
    *("run_after", "queued_at", "start_date", "end_date"),
)
TASK_TIMES = ("start_date", "end_date")

RUN = ("dag_id", "run_id", "run_type", *RUN_TIMES)
RUN_IDENTITY = 2  # of these: there is no event without them
RUN_TYPE = RUN.index("run_type")
TEST = "test"
"""The reported run_type of a run of `airflow dags test`. Airflow calls the run manual, triggered by a test.
"""
TASK = (
    *("dag_id", "run_id", "task_id", "try_number", "id", "state", "map_index", "max_tries"),
    *(*TASK_TIMES, "operator", "hostname"),
)
TASK_IDENTITY = 4
TRY_ID, STATE, OPERATOR = TASK.index("id"), TASK.index("state"), TASK.index("operator")


def read_run(run: Any, msg: str | None = None, *, state: str) -> Read:
    """Read what a report needs from a DAG run, without a query to Airflow's database."""
    read = _read(run, RUN, RUN_IDENTITY)
    started_by = run.__dict__.get("triggered_by")  # as it is loaded: no query in the scheduler
    if started_by is not None and getattr(started_by, "value", started_by) == TEST:
        read[RUN_TYPE] = TEST
    read += state, msg if msg in AIRFLOW_S_WORDS else _mask_note(msg), run.__dict__.get("partition_key")
    return read


def read_task(previous_state: object, ti: Any, error: object = None, *, state: str) -> Read:
    """Read what a report needs from a task instance.
    Raises ValueError if the object of a failed try says neither that the task is over nor that another try
    follows."""
    read = _read(ti, TASK, TASK_IDENTITY)
    # The hook says *failed* for every try that failed. Its object says whether another try follows. A state
    # set by hand has no previous state, and its object may still hold the old one.
    if state == "failed" and previous_state is not None:
        state = _resolve_failed_state(read)
    read[STATE] = state
    read[TRY_ID] = _try_id(ti, read[TRY_ID], state)
    if not read[OPERATOR]:
        read[OPERATOR] = getattr(getattr(ti, "task", None), "task_type", None)
    read.append(None if error is None else error_text.describe(error))
    return read


def run(read: Read) -> Facts:
    """Return a DAG run's data from what `read_run` kept."""
    # A report that an older plugin left in a journal has no partition key. Airflow has them from 3.2 on.
    facts = dict(zip((*RUN, "state", "message", "partition_key"), read, strict=False))
    if facts.get("partition_key") is None:
        facts.pop("partition_key", None)
    return facts


def task(read: Read) -> Facts:
    """Return a task's data from what `read_task` kept."""
    facts = dict(zip((*TASK, "error"), read, strict=True))
    map_index = facts["map_index"]
    return {
        "dag_id": facts["dag_id"],
        "run_id": facts["run_id"],
        "task_id": facts["task_id"],
        "map_index": -1 if map_index is None else map_index,
        "ti_id": str(uuid.UUID(facts["id"])),
        "try_number": facts["try_number"],
        "max_tries": facts["max_tries"] or 0,
        "state": facts["state"],
        "start_date": facts["start_date"],
        "end_date": None if facts["state"] == "running" else facts["end_date"],
        "operator": facts["operator"],
        "hostname": facts["hostname"] or None,
        "error": facts["error"],
    }


def read_asset(asset: Any) -> Facts:
    """Return an asset's name, URI and group as event data."""
    return {"asset": {"name": asset.name, "uri": asset.uri, "group": getattr(asset, "group", None)}}


def read_alias(alias: Any) -> Facts:
    """Return an asset alias's name and group as event data."""
    return {"alias": {"name": alias.name, "group": getattr(alias, "group", None)}}


def plain(value: object) -> object:
    """Convert a value of Airflow's objects for which JSON has no form.
    Raises TypeError for any other value."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"a {type(value).__name__} is not told: {value!r}")


def _read(subject: Any, names: tuple[str, ...], identity: int) -> Read:
    held = subject.__dict__
    read = [held[name] if name in held else getattr(subject, name, None) for name in names]
    if None in read[:identity]:
        raise ValueError(f"a {type(subject).__name__} without {names[read.index(None)]}")
    return read


def _mask_note(msg: str | None) -> str | None:
    return error_text.head(msg, MAX_NOTE) or None if msg else None


def _resolve_failed_state(read: Read) -> str:
    """Return `failed` or `up_for_retry`, as the object says.
    Raises ValueError if the object says neither: `failed` is never guessed, because the reconciler will find
    it."""
    found = read[STATE]
    state = found.value if isinstance(found, Enum) else found
    if state not in ("failed", "up_for_retry"):
        raise ValueError(
            f"a failed try of {read[:TASK_IDENTITY]} is in state {state!r}, not failed or up_for_retry"
        )
    return str(state)


def _try_id(ti: Any, found: object, state: str) -> str:
    """Return the id of the try that the event is about, in hexadecimal.
    If the scheduler handles a killed task with a retry left, it gives the object the next try's id before it
    calls the hook. SQLAlchemy remembers the loaded id."""
    if state == "up_for_retry":
        loaded = getattr(getattr(ti, "_sa_instance_state", None), "committed_state", {}).get("id")
        found = loaded if isinstance(loaded, (str, uuid.UUID)) else found
    try_id = found if isinstance(found, uuid.UUID) else uuid.UUID(str(found))
    return f"{try_id.int:032x}"  # UUID's own str costs five times as much
