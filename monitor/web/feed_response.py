"""An open feed as an HTTP answer: sse-starlette's, with its headers, whose body the feed itself sends.

Odd on purpose: the response has no iterator. sse-starlette keeps four tasks for each reader and wakes two for
each chunk; the feed offers the same bytes to ten thousand readers in one loop (monitor/feed), and the
connection's own task only waits for the reader to go.
"""

from collections.abc import Callable
from functools import partial

from sse_starlette import EventSourceResponse
from starlette.types import Receive, Scope, Send

from monitor.feed import FeedFull, Feeds, Form, Reader, ShareFull
from monitor.feed.block import body
from monitor.web.hand_over import hand_over

Join = Callable[[Send], Reader]
"""Feeds.join(), but for how the reader is sent to."""


class FeedResponse(EventSourceResponse):
    media_type = Form.SSE.value

    def __init__(self, feeds: Feeds, form: Form, join: Join) -> None:
        super().__init__(iter(()), media_type=form.value, ping=0)
        self._feeds = feeds
        self._join = join

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        hand_over(scope, partial(_stay, self._feeds, [self._join]))


async def _stay(feeds: Feeds, join: list[Join], receive: Receive, send: Send) -> None:
    try:
        reader = join.pop()(send)  # popped: what it holds need not stay for days
    except (
        FeedFull,
        ShareFull,
    ):  # others have come since the answer began; the reader comes back and is told
        await send(body(b"", more=False))
        return
    try:
        while (await receive())["type"] != "http.disconnect":
            pass  # a request has no more to say; its end does
    finally:
        feeds.leave(reader)
