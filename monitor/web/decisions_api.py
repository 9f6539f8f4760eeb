"""What each rule made of an event, and why: the ledger's answer to "why did I get no mail?"."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.exceptions import HTTPException

from monitor.notify.explain import Explanation, explain
from monitor.web.answers import PROBLEMS, polled, problems
from monitor.web.examples import EVENT
from monitor.web.models_told import EventDecisions
from monitor.web.polled import Polled
from monitor.web.querying import Name
from monitor.web.reader import ApiReader
from monitor.web.services import Here

router = APIRouter(prefix="/api/v1/events", tags=["events"], responses=PROBLEMS, route_class=Polled)

EventId = Annotated[Name, Path(description="The CloudEvent's id", examples=[EVENT["id"]])]
Deployment = Annotated[
    Name | None,
    Query(description="Of this Airflow alone. Default: of each that reported it", examples=["local"]),
]


@router.get(
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
    return {"explanations": [_told(one) for one in seen]}


def _told(one: Explanation) -> dict[str, Any]:
    return {"event": json.loads(one.event.body), "rules": one.lines}
