"""`GET /api/v1/events`: the log in pages, and the decisions about one event."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.exceptions import HTTPException

from monitor.event_log import read
from monitor.event_log.read import Logged
from monitor.notifications.explain import Explanation, explain
from monitor.web.api.models import EventDecisions, EventPage
from monitor.web.dependencies import ApiReader
from monitor.web.openapi_examples import EVENT
from monitor.web.query_params import EventsQuery, Name
from monitor.web.responses import PROBLEMS, Paging, Polled, polled, problems
from monitor.web.services import Here

router = APIRouter(tags=["events"], responses=PROBLEMS | polled(listed=True), route_class=Polled)


@router.get("/api/v1/events", response_model=EventPage, operation_id="listEvents")
async def events(
    here: Here, reader: ApiReader, pager: Paging, query: Annotated[EventsQuery, Query()]
) -> dict[str, Any]:
    """The log, newest first.

    For what comes, follow `/events` instead of asking again and again.
    """
    # Not beyond where the reader's rights decide: who remembers the newest seq would never ask for what is
    # hidden before it, and that may be of a new DAG.
    ends = [
        place for place in (query.cursor, None if reader.seq is None else reader.seq + 1) if place is not None
    ]
    before = min(ends, default=None)
    found, following = await here.database.read(
        lambda connection: read.read_page(connection, before, query.limit, query.filter(), reader.visible)
    )
    return pager.cut("events", [_told(one) for one in found], following)


def _told(one: Logged) -> dict[str, Any]:
    return {"seq": one.seq, "received_at": one.received_at, "event": json.loads(one.body)}


decisions_router = APIRouter(prefix="/api/v1/events", tags=["events"], responses=PROBLEMS, route_class=Polled)

EventId = Annotated[Name, Path(description="The CloudEvent's id", examples=[EVENT["id"]])]
Deployment = Annotated[
    Name | None,
    Query(description="Of this Airflow alone. Default: of each that reported it", examples=["local"]),
]


@decisions_router.get(
    "/{event_id}/decisions",
    response_model=EventDecisions,
    operation_id="explainEvent",
    responses=polled() | problems(404),
)
async def decisions(
    here: Here, reader: ApiReader, event_id: EventId, deployment: Deployment = None
) -> dict[str, Any]:
    """What each rule made of an event when it came, what was sent because of it, which rules take it now."""
    visible, rules = await here.gate.sight(reader), here.rules.current
    found = await here.database.read(lambda connection: explain(connection, rules, event_id, visible))
    seen = [one for one in found if deployment in (None, one.event.deployment)]
    if not seen:
        raise HTTPException(404, f"no event {event_id!r} is in the log")
    return {"explanations": [_explanation(one) for one in seen]}


def _explanation(one: Explanation) -> dict[str, Any]:
    return {"event": json.loads(one.event.body), "rules": one.lines}
