"""`GET /api/v1/events`: the log in pages."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query

from monitor import event_log
from monitor.event_log import Logged
from monitor.web.answers import PROBLEMS, polled
from monitor.web.models import EventPage
from monitor.web.paging import Paging
from monitor.web.polled import Polled
from monitor.web.querying import EventsQuery
from monitor.web.reader import ApiReader
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
        lambda connection: event_log.read_page(
            connection, before, query.limit, query.filter(), reader.visible
        )
    )
    return pager.cut("events", [_told(one) for one in found], following)


def _told(one: Logged) -> dict[str, Any]:
    return {"seq": one.seq, "received_at": one.received_at, "event": json.loads(one.body)}
