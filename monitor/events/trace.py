"""The trace that an event belongs to: its own, or the one that its run has all the same. The plugin derives
it in its own words (plugins/windsock/traces.py); docs/events.md holds both to the recipe.
"""

import hashlib
import json

from monitor.events.model import Event


def trace_of(event: Event) -> str:
    """The event's own traceparent, or the one that all events of its run share."""
    if event.traceparent:
        return event.traceparent
    dag_id, run_id = event.dag_id, event.get("run_id")
    return derived(*((event.source, dag_id, run_id) if dag_id and run_id else (event.source, event.id)))


def derived(*parts: str) -> str:
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    digits = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    return f"00-{digits[:32]}-{digits[32:48]}-01"
