"""The trace that an event belongs to (CloudEvents' distributed tracing extension, W3C Trace Context).

`read_traceparent` gives Airflow's own trace, if Airflow records one. `derive_traceparent` derives a trace
from the run. So all events of a run share a trace, and no process has to pass it on. docs/events.md has the
recipe.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

ATTRIBUTE = "traceparent"
SAMPLED = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][13579bdf]")
"""A sampled traceparent. Traces that are not sampled are kept nowhere: Airflow's traces are off, or skip
this run."""


def read_traceparent(objects: tuple[Any, ...]) -> str:
    """Return the traceparent that Airflow gave the run or the task, or "".
    It is read from the object's own dict, because an attribute that is not loaded would cost a database
    query in a hook."""
    for item in objects:
        carrier = getattr(item, "__dict__", {}).get("context_carrier")
        found = carrier.get(ATTRIBUTE) if isinstance(carrier, dict) else None
        if isinstance(found, str) and SAMPLED.fullmatch(found):
            return found
    return ""


def derive_traceparent(event: dict[str, Any]) -> str:
    """Derive a traceparent that is the same for every event of a run. An event of no run gets its own."""
    data = event["data"]
    if data.get("dag_id") and data.get("run_id"):
        parts = [event["source"], data["dag_id"], data["run_id"]]
    else:
        parts = [event["source"], event["id"]]
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    digits = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    return f"00-{digits[:32]}-{digits[32:48]}-01"
