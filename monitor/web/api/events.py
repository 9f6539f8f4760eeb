"""The API of events: the log in pages (`GET /api/v1/events`), and the decisions about one event."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.exceptions import HTTPException

from monitor.database.statements import MAX_PAGE_BYTES, fit, size_of
from monitor.database.types import read_each
from monitor.event_log import read
from monitor.event_log.read import LoggedEvent
from monitor.notifications.explain import EventExplanation, explain
from monitor.web.api.models import EventDecisions, EventPage
from monitor.web.dependencies import ApiPrincipal
from monitor.web.openapi_examples import EVENT
from monitor.web.query_params import MAX_PAGE, EventsQuery, Name
from monitor.web.responses import PROBLEMS, ETagRoute, Paging, etag_responses, problems
from monitor.web.services import ServicesDep

router = APIRouter(tags=["events"], responses=PROBLEMS | etag_responses(listed=True), route_class=ETagRoute)


@router.get("/api/v1/events", response_model=EventPage, operation_id="listEvents")
async def events(
    services: ServicesDep, principal: ApiPrincipal, pager: Paging, query: Annotated[EventsQuery, Query()]
) -> dict[str, Any]:
    """Return the log, newest first.

    For coming events, follow `/events` instead of asking again and again."""
    # Not beyond where the reader's rights decide: who remembers the newest seq would never ask for what is
    # hidden before it, and that may be of a new DAG.
    ends = [
        place
        for place in (query.cursor, None if principal.seq is None else principal.seq + 1)
        if place is not None
    ]
    before = min(ends, default=None)
    found, following = await services.database.read(
        lambda connection: read.read_page(
            connection, before, query.limit, query.filter(), principal.allowed_dags
        )
    )
    return pager.cut("events", list(read_each("events", found, _format_event)), following)


def _format_event(logged_event: LoggedEvent) -> dict[str, Any]:
    """Return the event of a row. Raises ValueError and TypeError if the row holds no event."""
    event = json.loads(logged_event.body)
    return {"seq": logged_event.seq, "received_at": logged_event.received_at, "event": dict(event.items())}


decisions_router = APIRouter(
    prefix="/api/v1/events", tags=["events"], responses=PROBLEMS, route_class=ETagRoute
)

EventId = Annotated[Name, Path(description="The CloudEvent's id", examples=[EVENT["id"]])]
Deployment = Annotated[
    Name | None,
    Query(description="Of this Airflow alone. Default: of each that reported it", examples=["local"]),
]


@decisions_router.get(
    "/{event_id}/decisions",
    response_model=EventDecisions,
    operation_id="explainEvent",
    responses=etag_responses() | problems(404),
)
async def decisions(
    services: ServicesDep, principal: ApiPrincipal, event_id: EventId, deployment: Deployment = None
) -> dict[str, Any]:
    """Return each rule's decision about an event, what was sent for it, and which rules take it now."""
    allowed_dags, rules = await services.authenticator.get_permissions(principal), services.rules.current
    found = await services.database.read(
        lambda connection: explain(connection, rules, event_id, allowed_dags)
    )
    seen = [explanation for explanation in found if deployment in (None, explanation.event.deployment)]
    if not seen:
        raise HTTPException(404, f"no event {event_id!r} is in the log")
    return {"explanations": [_format_explanation(explanation) for explanation in seen]}


def _format_explanation(explanation: EventExplanation) -> dict[str, Any]:
    rules, room = [], MAX_PAGE_BYTES
    for line in explanation.lines:
        deliveries, has_more = fit(line.deliveries, MAX_PAGE, room)
        room = max(0, room - size_of(deliveries))
        rules.append(vars(line) | {"deliveries": deliveries, "has_more_deliveries": has_more})
    return {"event": json.loads(explanation.event.body), "rules": rules}
