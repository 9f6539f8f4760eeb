"""What a sender tells beside its events: how its spool is, and which trace they belong to. None of it is a
reason to refuse anything."""

from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import Request

from monitor.events import Event, traceparent
from monitor.events.trace import trace_of
from monitor.metrics import spools
from monitor.tracing import OFF, Span, Traces
from monitor.web.services import Services


def hear(here: Services, request: Request, raws: Sequence[Any], events: Sequence[Event]) -> None:
    """Note how the sender's spool is, and count what is given for a traceparent and is none."""
    spool = request.headers.get(spools.HEADER)
    if spool and events:
        here.metrics.spools.hear(events[0].deployment, spool)
    given = sum(isinstance(raw, dict) and traceparent.ATTRIBUTE in raw for raw in raws)
    if given and (wrong := given - sum(event.traceparent is not None for event in events)) > 0:
        here.metrics.traceparents_ignored.inc(wrong)


def asked_in(request: Request) -> str | None:
    """The trace of the request itself."""
    return traceparent.valid(request.headers.get(traceparent.ATTRIBUTE))


def trace(traces: Traces, request: Span, taken: Iterable[tuple[Event, bool]], began_ns: int) -> None:
    """A span for each new event: a child of the event's own, linked to the request that brought it."""
    if traces is OFF:
        return
    for event, new in taken:
        if new:
            with traces.span(
                f"log {event.type}",
                parent=trace_of(event),
                links=[request.traceparent],
                start_ns=began_ns,
                event_id=event.id,
                deployment=event.deployment,
                dag_id=event.dag_id,
                run_id=event.get("run_id"),
                reported_by=event.data.reported_by,
            ):
                pass
