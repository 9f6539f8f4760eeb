"""`GET /events`: the live feed.

`FeedResponse` begins the answer and waits for its reader to go. Meanwhile a task of the feed server
(monitor/feed) writes the body."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from monitor.errors import AirflowError, CursorError
from monitor.event_log.cursor import Cursor
from monitor.event_log.filters import AllowedDags
from monitor.events.data import YEARS, Moment
from monitor.feed.buffer import FeedFormat, Subscription, body
from monitor.feed.connections import (
    FeedFull,
    FeedServer,
    FindStart,
    ShareFull,
    from_cursor,
    from_now,
    from_time,
)
from monitor.feed.subscriber import FeedEnded, Rights, Subscriber
from monitor.web import openapi_examples
from monitor.web.auth.authenticator import NotSignedIn, Principal
from monitor.web.dependencies import ApiPrincipal
from monitor.web.query_params import FeedQuery
from monitor.web.responses import PROBLEMS, Answers, problems
from monitor.web.services import ServicesDep

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""The second is for nginx, which would collect events otherwise."""

Join = Callable[[Send], Subscriber]
"""FeedServer.join(), apart from the function that sends to the reader."""


class FeedResponse(Response):
    """The answer that stays open for a feed."""

    media_type = FeedFormat.SSE.value

    def __init__(self, feed_server: FeedServer, feed_format: FeedFormat, join: Join) -> None:
        super().__init__(media_type=feed_format.value, headers=HEADERS)
        del self.headers["content-length"]  # the answer has no end
        self._feed_server = feed_server
        self._join = join

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin the answer, and let the feed server write to it until the client is gone."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            subscriber = self._join(send)
        except (FeedFull, ShareFull):  # others have come since: the reader comes back and gets the reason
            await send(body(b"", more=False))
            return
        try:
            while (await receive())["type"] != "http.disconnect":
                pass  # a request has no more to say, but its end does
        finally:
            self._feed_server.leave(subscriber)


_CURSOR = "1a2b3c4d-7"
_BODY = json.dumps(openapi_examples.EVENT, separators=(",", ":"))
_EVENT = f"id: {_CURSOR}\nevent: airflow.dag_run.failed\ndata: {_BODY}\n\n"
_HEARTBEAT = f": heartbeat\nid: {_CURSOR}\n\n"
_SSE = f"retry: 2000\n\n{_EVENT}{_HEARTBEAT}"
_LINE: dict[str, Any] = {
    "type": "object",
    "description": "One line: an event, a heartbeat (`id` alone), or a reset (docs/feed.md)",
    "required": ["id"],
    "properties": {
        "id": {"type": "string", "description": "The cursor: go on from here"},
        "event": {"$ref": "#/components/schemas/CloudEvent"},
        "reset": {
            "type": "object",
            "description": "The cursor that was asked for is gone; the feed goes on from `id`",
            "required": ["reason"],
            "properties": {"reason": {"type": "string"}},
        },
    },
}

FEED: Answers = {
    **PROBLEMS,
    **problems(400),
    200: {
        "description": "The feed, without an end",
        "content": {
            "text/event-stream": {"schema": {"type": "string"}, "example": _SSE},
            "application/x-ndjson": {
                "schema": _LINE,
                "example": json.dumps({"id": _CURSOR, "event": openapi_examples.EVENT}, separators=(",", ":"))
                + "\n",
            },
        },
    },
}

FULL_RETRY = 30  # seconds, in Retry-After

router = APIRouter(tags=["events"], responses=FEED)
_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


@router.get("/events", status_code=200, response_class=FeedResponse, operation_id="followEvents")
async def feed(
    services: ServicesDep,
    principal: ApiPrincipal,
    query: Annotated[FeedQuery, Query()],
    last_event_id: Annotated[
        str | None, Header(description="The `id` that came last: go on behind it", examples=["1a2b3c4d-42"])
    ] = None,
    accept: Annotated[
        str, Header(description="The feed's form", examples=["application/x-ndjson"])
    ] = FeedFormat.SSE.value,
) -> FeedResponse:
    """Follow every event as it is logged, as Server-Sent Events.

    The feed resumes behind `Last-Event-ID` or `after`. `event:` is the event's type, `data:` the CloudEvent,
    `id:` the cursor. `event: reset` says that the cursor is gone and where the feed goes on. A heartbeat
    carries an `id:` alone.

    With `Accept: application/x-ndjson` each line is a JSON object: `{"id": …, "event": …}`, a heartbeat
    `{"id": …}`, a reset `{"id": …, "reset": {"reason": …}}`."""
    start = _start(last_event_id or query.after, query.since)
    try:
        services.feed_server.require_room(principal.whose)
    except ShareFull as full:
        raise HTTPException(429, str(full), {"Retry-After": str(FULL_RETRY)}) from None
    except FeedFull as full:
        raise HTTPException(503, str(full), {"Retry-After": str(FULL_RETRY)}) from None
    feed_format = FeedFormat.NDJSON if FeedFormat.NDJSON.value in accept else FeedFormat.SSE
    rights = (
        None if services.authenticator.open and principal.token is None else _build_feed_rights(principal)
    )
    subscription = Subscription(query.filter(), principal.allowed_dags)
    whose = principal.whose
    return FeedResponse(
        services.feed_server,
        feed_format,
        lambda send: services.feed_server.join(start, subscription, feed_format, send, rights, whose),
    )


def _start(cursor: str | None, moment: str | None) -> FindStart:
    try:
        if cursor is not None:
            return from_cursor(Cursor.parse(cursor))
        return from_time(_MOMENT.validate_strings(moment)) if moment is not None else from_now
    except CursorError as error:
        raise HTTPException(400, str(error)) from None
    except ValidationError:
        raise HTTPException(
            400,
            f"since: {str(moment)[:60]!r} is not RFC 3339 with a zone, such as 2026-11-22T10:00:00Z, within "
            f"the years {YEARS.start} to {YEARS.stop - 1}",
        ) from None


def _build_feed_rights(principal: Principal) -> Rights:
    async def rights() -> AllowedDags:
        try:
            return await principal.rights()
        except (NotSignedIn, AirflowError) as error:
            raise FeedEnded(str(error)) from None

    return rights
