"""The identity of events by the natural-key recipe of docs/events.md, and durations as text.

The plugin has its own implementation of the recipe. The golden files in tests/contract check both.
"""

import hashlib
import json
import re
from datetime import datetime, timedelta, timezone
from functools import lru_cache

DIGEST_DIGITS = 32  # 128 bits: no two names meet by chance, and the id stays short whatever the names

TRY = "try:"
"""The beginning of the ids of tries that are reported without their UUID."""

IMPORT_ERROR = "import_error:"
"""Before the ids of import errors."""

REPORTED_TRACE = re.compile(rf"{IMPORT_ERROR}[0-9a-f]{{{DIGEST_DIGITS}}}:([0-9a-f]{{{DIGEST_DIGITS}}})")
"""An import error's id, and in it the digest of the trace."""

CHANGING = re.compile(r"0x[0-9a-fA-F]+|(?<=PID: )[0-9]+")
"""The parts of a trace that differ from parse to parse of the same error. They are addresses of objects, and
the process that Airflow names if an import takes too long."""


_encode_parts = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
RECENT_RUNS = 4_096
"""Occurrences of runs whose key is kept: a run's states come together, and each step asks for the key."""


def digest(*parts: str) -> str:
    """Shorten natural-key parts to 32 hexadecimal digits, unambiguously (a JSON array keeps them apart)."""
    return sha256_of(parts)[:DIGEST_DIGITS]


def sha256_of(parts: tuple[str, ...]) -> str:
    """Return the 64 hexadecimal digits of the SHA-256 of the parts as a JSON array."""
    return hashlib.sha256(_encode_parts(parts).encode("utf-8", "replace")).hexdigest()


def stamp(moment: datetime) -> str:
    """Write a moment as events carry it: UTC, six digits of microseconds, `Z`."""
    return moment.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


@lru_cache(RECENT_RUNS)
def run_key(dag_id: str, run_id: str, start_date: datetime | None, queued_at: datetime | None) -> str:
    """Name one occurrence of a run. A cleared run starts anew and so becomes another occurrence."""
    anchor = start_date or queued_at
    return digest(dag_id, run_id, stamp(anchor) if anchor else "")


def run_id_of(
    dag_id: str, run_id: str, start_date: datetime | None, queued_at: datetime | None, state: str
) -> str:
    """Return the id of a run's state change."""
    return f"run:{run_key(dag_id, run_id, start_date, queued_at)}:{state}"


def task_id_of(ti_id: str, state: str) -> str:
    """Return the id of a task's state change. Airflow makes a new UUID for each try."""
    return f"task:{ti_id}:{state}"


def earlier_try_id_of(
    dag_id: str, run_id: str, task_id: str, map_index: int, try_number: int, state: str
) -> str:
    """Return the id of an archived try's end, for a try whose UUID was never reported.
    REST does not show the UUID."""
    return f"{TRY}{digest(dag_id, run_id, task_id, str(map_index), str(try_number))}:{state}"


def nth(plain: str, number: int) -> str:
    """Return the id of a state's second, third, … occurrence. A person set the state and set it back."""
    return plain if number == 1 else f"{plain}:{number}"


def asset_event_id_of(asset_event_id: int) -> str:
    """Return the id of an asset update. REST's integer is its only identity."""
    return f"asset_event:{asset_event_id}"


def backfill_id_of(backfill_id: int) -> str:
    """Return the id of a backfill's end. Airflow numbers backfills, and each is completed once."""
    return f"backfill:{backfill_id}:completed"


def import_error_id(filename: str, stacktrace: str, bundle_name: str | None = None) -> str:
    """Return the id of an import error, made of its file and its trace.

    REST knows the path within the bundle. A hook knows the whole path and no bundle. So the same error has
    two ids. The error is logged under the id that comes first
    (monitor/event_log/projections/import_errors.py)."""
    return f"{IMPORT_ERROR}{digest(bundle_name or '', filename)}:{digest(CHANGING.sub('*', stacktrace))}"


def reported_error_id(filename: str, stacktrace: str, bundle_name: str | None, *texts: str | None) -> str:
    """Return the id of an import error that another program reports.
    The file is the one that the report names. The trace is the one of the given ids. A reported trace is
    masked and cut, so the whole trace's digest is taken from an id if that has the form."""
    computed = import_error_id(filename, stacktrace, bundle_name)
    file, trace = computed.rsplit(":", 1)
    ids = (match[1] for text in texts if text and (match := REPORTED_TRACE.fullmatch(text)))
    return f"{file}:{next(ids, trace)}"


def trace_of_error(error_id: str, stacktrace: str = "") -> str:
    """Return the digest of an import error's trace.
    The id has the whole trace's digest. Ids of older plugins lack that part, so the reported trace's digest
    stands in."""
    _, *parts = error_id.split(":")
    if error_id.startswith(IMPORT_ERROR) and len(parts) == 2:
        return parts[1]
    return digest(CHANGING.sub("*", stacktrace))


def import_error_mended_id(error_id: str) -> str:
    """Return the id of an import error's end."""
    return f"{error_id}:mended"


def pause_id(dag_id: str, state: str) -> str:
    """Return the id of a DAG's first pause or first end of a pause."""
    return f"dag:{digest(dag_id)}:{state}"


_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
SHOWN_UNITS = 2  # of one length: `2 d 3 h`, never `2 d 3 h 4 min 5 s`


def spoken(length: timedelta) -> str:
    """Return a duration in its two largest units: `1 h 30 min`. Below a second the text is `0 s`."""
    left = max(0, round(length.total_seconds()))
    parts: list[str] = []
    for unit, seconds in _UNITS:
        number, left = divmod(left, seconds)
        if number:
            parts.append(f"{number} {unit}")
        elif parts:
            break
    return " ".join(parts[:SHOWN_UNITS]) or "0 s"
