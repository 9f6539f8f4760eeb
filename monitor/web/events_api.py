"""`GET /events`, the live feed."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Header, Query
from pydantic import TypeAdapter, ValidationError
from sse_starlette import EventSourceResponse
from starlette.exceptions import HTTPException

from monitor.errors import AirflowError, CursorError
from monitor.event_log import Cursor, Visible
from monitor.events.values import YEARS, Moment
from monitor.feed import (
    FeedEnded,
    FeedFull,
    Form,
    Rights,
    Selection,
    ShareFull,
    Start,
    after,
    from_now,
    since,
)
from monitor.web.feed_response import FeedResponse
from monitor.web.feed_told import FEED
from monitor.web.gate import NotSignedIn, Reader
from monitor.web.querying import FeedQuery
from monitor.web.reader import ApiReader
from monitor.web.services import Here

FULL_RETRY = 30  # seconds, in Retry-After

router = APIRouter(tags=["events"], responses=FEED)
_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


@router.get("/events", response_class=EventSourceResponse, operation_id="followEvents")
async def feed(
    here: Here,
    reader: ApiReader,
    query: Annotated[FeedQuery, Query()],
    last_event_id: Annotated[
        str | None, Header(description="The `id` that came last: go on behind it", examples=["1a2b3c4d-42"])
    ] = None,
    accept: Annotated[
        str, Header(description="The feed's form", examples=["application/x-ndjson"])
    ] = Form.SSE.value,
) -> FeedResponse:
    """Every event as it is logged, as Server-Sent Events; it resumes where `Last-Event-ID` or `after` says.

    `event:` is the event's type, `data:` the CloudEvent, `id:` the cursor. `event: reset` says that the
    cursor is gone and from where the feed goes on. A heartbeat carries an `id:` alone.

    With `Accept: application/x-ndjson` one JSON object a line: `{"id": …, "event": …}`, a heartbeat
    `{"id": …}`, a reset `{"id": …, "reset": {"reason": …}}`.
    """
    start = _start(last_event_id or query.after, query.since)
    try:
        here.feeds.require_room(reader.whose)
    except ShareFull as full:
        raise HTTPException(429, str(full), {"Retry-After": str(FULL_RETRY)}) from None
    except FeedFull as full:
        raise HTTPException(503, str(full), {"Retry-After": str(FULL_RETRY)}) from None
    form = Form.NDJSON if Form.NDJSON.value in accept else Form.SSE
    rights = None if here.gate.open and reader.token is None else _for_feed(reader)
    selection = Selection(query.filter(), reader.visible)
    whose = reader.whose
    return FeedResponse(
        here.feeds, form, lambda send: here.feeds.join(start, selection, form, send, rights, whose)
    )


def _start(cursor: str | None, moment: str | None) -> Start:
    try:
        if cursor is not None:
            return after(Cursor.parse(cursor))
        return since(_MOMENT.validate_strings(moment)) if moment is not None else from_now
    except CursorError as error:
        raise HTTPException(400, str(error)) from None
    except ValidationError:
        raise HTTPException(
            400,
            f"since: {str(moment)[:60]!r} is not RFC 3339 with a zone, such as 2026-11-22T10:00:00Z, within "
            f"the years {YEARS.start} to {YEARS.stop - 1}",
        ) from None


def _for_feed(reader: Reader) -> Rights:
    async def rights() -> Visible:
        try:
            return await reader.rights()
        except (NotSignedIn, AirflowError) as error:
            raise FeedEnded(str(error)) from None

    return rights
