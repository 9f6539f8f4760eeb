"""The HTTP server's protocol, and the bound on the bodies of all requests.

`BoundedHttpProtocol` and `ConnectionLimit` bound a request's head, and the time that heads, bodies and
answers take. They also bound connections, and answers that clients do not read. uvicorn's protocol collects
a head without a limit, and waits forever for the head's end and for a client that reads. So one connection
could take all memory, and a thousand half requests every file descriptor. The bounds are in the protocol,
because only the protocol sees bytes before a request exists and after its answer is made.

`BodyLimitMiddleware` bounds the request bodies that this process holds in all. A signature is checked over a
whole body, so a sender fills memory before anything is known about it. Each body has a bound of its own
(web/api/ingest.py, security.py). The middleware bounds their sum."""

import asyncio
import json
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import httptools
from anyio import CancelScope
from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from monitor.observability.metrics import Metrics
from monitor.web.auth.rate_limit import address_of
from monitor.web.problems import BY_STATUS, CONTENT_TYPE, NOT_HTTP
from monitor.web.security import HEADERS

MAX_TARGET = 8 * 1024  # bytes of a request's address: RFC 9112, 3 asks for 8,000 at least
MAX_HEAD = 32 * 1024  # bytes of request line and headers, also of what follows a chunked body
MAX_HEADERS = 100  # as Apache's default: libraries look through all of them for each one that they want
MAX_HEADER = 8 * 1024  # bytes of one header, as nginx's and Apache's defaults: values are parsed by libraries
HEAD_SECONDS = 10.0  # from a connection's opening, or a request's first byte, to the end of its head
BODY_SECONDS = 60.0  # for a whole body: the largest, 4 MiB, needs 70 kB/s
WRITE_SECONDS = 60.0  # for a client to take what is written at once: as slow as a body may be
MAX_UNREAD = 256 * 1024 * 1024  # bytes of answers, of all connections, that wait for clients to read
MAX_PIPELINED = 16  # requests that wait behind one of the same connection: browsers and the plugin send none
IDLE_SECONDS = (
    5  # between two requests of one connection: browsers and the plugin connect anew in milliseconds
)
REFUSALS = {
    400: "this is no HTTP request",
    414: f"the address is longer than {MAX_TARGET} bytes",
    431: f"the request's head is longer than {MAX_HEAD} bytes, has more than {MAX_HEADERS} headers, or a "
    f"header of more than {MAX_HEADER} bytes",
    503: "too many connections are open; try again later",
}


class _Refused(Exception):
    """The request breaks a bound, which `status` names."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _TooManyPipelined(Exception):
    """Too many requests wait on this connection. An answer would be taken for that of the first."""


class ConnectionLimit:
    """The bound on all connections of a server together: their number, and the unread bytes of answers.

    Beyond either, the connection that has waited longest for its client gives way: an idle one, one that
    sends half a request, or one that does not read its answer. A newcomer is refused only if no connection
    waits."""

    def __init__(self, most: int, metrics: Metrics, most_unread: int = MAX_UNREAD) -> None:
        self.most = most
        self.metrics = metrics
        self._most_unread = most_unread
        self._waiting: OrderedDict[BoundedHttpProtocol, None] = OrderedDict()
        self._unread: OrderedDict[BoundedHttpProtocol, int] = OrderedDict()
        self._unread_in_all = 0

    def admit(self, open_connections: int) -> bool:
        """Return True if one more connection may stay. `open_connections` includes it."""
        if open_connections <= self.most:
            return True
        if not self._waiting:
            return False
        next(iter(self._waiting)).cut("connections")
        return True

    def add_waiting(self, protocol: "BoundedHttpProtocol") -> None:
        """Record that the connection waits for its client."""
        self._waiting.setdefault(protocol)

    def remove_waiting(self, protocol: "BoundedHttpProtocol") -> None:
        """Record that the connection no longer waits."""
        self._waiting.pop(protocol, None)

    def add_unread(self, protocol: "BoundedHttpProtocol", size: int) -> None:
        """Record how much of an answer the client has not read, and cut the oldest if that is too much."""
        self._unread[protocol] = size
        self._unread_in_all += size
        while self._unread_in_all > self._most_unread:
            next(iter(self._unread)).cut("unread")

    def remove_unread(self, protocol: "BoundedHttpProtocol") -> None:
        """Record that the client has read everything."""
        self._unread_in_all -= self._unread.pop(protocol, 0)


class BoundedHttpProtocol(HttpToolsProtocol):
    """The httptools protocol of uvicorn, with this module's bounds."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limit: ConnectionLimit,
        head_seconds: float = HEAD_SECONDS,
        body_seconds: float = BODY_SECONDS,
        write_seconds: float = WRITE_SECONDS,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limit = limit
        self._head_seconds, self._body_seconds = head_seconds, body_seconds
        self._write_seconds = write_seconds
        self._deadline: asyncio.TimerHandle | None = None  # for the end of a head or a body
        self._write_deadline: asyncio.TimerHandle | None = None
        self._is_answered = False  # the next request waits until the client has taken this one's answer
        self._head_size = 0  # bytes of this request's head and trailers that the parser has handed over
        self._unparsed = 0  # bytes received since the parser last handed anything over
        self._in_head = False
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, or refuse it if too many are open."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # or what is unread of small answers would have no bound
        if self._limit.admit(len(self.connections)):
            self._wait_for_head()
        else:
            self._refuse(503, "connections")

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop every wait for the lost connection."""
        self._stop_all_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, within the bounds."""
        if self._refused:
            return  # closed, but for what the transport still has to write
        self._end_idleness()
        self._unparsed += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            self._end_for(error.__context__)
        except httptools.HttpParserError:
            self._refuse(400, "head")
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()
        else:
            if self._unparsed > MAX_HEAD:  # one header, or the address, that does not end
                self._refuse(431, "head")

    def on_message_begin(self) -> None:
        """Begin a request, unless too many wait on this connection."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise _TooManyPipelined
        self._head_size, self._in_head = 0, True
        if self._deadline is None:
            self._wait_for_head()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count the target, and refuse one that is too long."""
        self._count(len(url))
        if self._head_size > MAX_TARGET:
            raise _Refused(414)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header, and refuse too many or too long ones."""
        size = len(name) + len(value)
        self._count(size)
        if not self._in_head:
            return  # what follows a chunked body is dropped: nothing reads it
        if size > MAX_HEADER or len(self.headers) == MAX_HEADERS:
            raise _Refused(431)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Wait for the body from now on."""
        self._unparsed, self._in_head = 0, False
        self._stop_waiting()
        self._wait("body_seconds", self._body_seconds)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the wait for the request."""
        self._unparsed = 0
        self._stop_waiting()
        super().on_message_complete()
        if self.cycle.response_complete:  # before its body's end, so nothing waits for the next request yet
            self._wait_for_head()

    def on_response_complete(self) -> None:
        """Wait for the next request once the client has read the answer."""
        if self.flow.write_paused and not self.transport.is_closing():
            self._is_answered = True
            self.flow.pause_reading()
            return
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None:
            self._limit.add_waiting(self)

    def pause_writing(self) -> None:
        """Wait for the client to read the answer."""
        super().pause_writing()
        self._write_deadline = self.loop.call_later(self._write_seconds, self.cut, "write_seconds")
        self._limit.add_waiting(self)
        self._limit.add_unread(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Go on, because the client has read what was written."""
        self._stop_writing()
        super().resume_writing()
        if self._is_answered:
            self._is_answered = False
            self.on_response_complete()

    def cut(self, bound: str) -> None:
        """End the connection without an answer, which was not asked for yet or would not be read."""
        self._refused = True
        self._limit.metrics.http_cut.labels(bound).inc()
        self._stop_all_waiting()
        self.transport.abort()

    def _count(self, size: int) -> None:
        self._unparsed = 0
        self._head_size += size
        if self._head_size > MAX_HEAD:
            raise _Refused(431)

    def _end_idleness(self) -> None:
        """Wait for a head, because something came, if only an empty line, which begins no request."""
        if self.timeout_keep_alive_task is None:
            return
        self._unset_keepalive_if_required()
        if self._deadline is None:
            self._limit.remove_waiting(self)
            self._wait_for_head()

    def _end_for(self, reason: BaseException | None) -> None:
        """End the connection for what a callback of the parser raised."""
        if isinstance(reason, _TooManyPipelined):
            self.cut("pipelined")
        else:
            self._refuse(reason.status if isinstance(reason, _Refused) else 400, "head")

    def _wait_for_head(self) -> None:
        self._wait("head_seconds", self._head_seconds)

    def _wait(self, bound: str, seconds: float) -> None:
        self._limit.add_waiting(self)
        self._deadline = self.loop.call_later(seconds, self.cut, bound)

    def _stop_waiting(self) -> None:
        """Stop waiting, because a head or a body has ended, or never will."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._write_deadline is None:
            self._limit.remove_waiting(self)

    def _stop_writing(self) -> None:
        """Stop waiting, because the client has taken all that was written, or never will."""
        self._limit.remove_unread(self)
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None
        if self._deadline is None:
            self._limit.remove_waiting(self)

    def _stop_all_waiting(self) -> None:
        self._stop_writing()
        self._stop_waiting()

    def _refuse(self, status: int, bound: str) -> None:
        self._refused = True
        self._limit.metrics.http_cut.labels(bound).inc()
        self._stop_waiting()
        is_answering = bool(self.cycle) and not self.cycle.response_complete
        if not is_answering:  # a refusal must not stand within another answer
            self.transport.write(_answer(status))
        self.transport.close()


def _answer(status: int) -> bytes:
    """Return a whole response (RFC 9457) with the security headers.
    The application, which writes them otherwise, has not seen a request."""
    # Not "malformed": senders give up what they sent on that, and this may be a proxy's doing.
    kind = NOT_HTTP if status == NOT_HTTP.status else BY_STATUS[status]
    problem = {"type": kind.type(""), "title": kind.title, "status": status, "detail": REFUSALS[status]}
    body = json.dumps(problem).encode()
    headers = {
        "Content-Type": CONTENT_TYPE,
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Connection": "close",
        **HEADERS,
    }
    lines = (f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *map(": ".join, headers.items()), "", "")
    return "\r\n".join(lines).encode() + body


MAX_HELD = (
    64 * 1024 * 1024
)  # bytes: 16 of the longest bodies, which take milliseconds to arrive and be checked
RETRY_SECONDS = 5  # what Retry-After asks of a refused sender

SLOW_RATE = 64 * 1024  # bytes a second: the longest batch would not end within BODY_SECONDS
RATE_SECONDS = 2.0  # the least age of a body whose rate is looked at
_KEY = "windsock.release_body"


class BodyRefused(HTTPException):
    """The error 503: too much is held of the bodies of all requests."""

    def __init__(self) -> None:
        detail = f"the monitor holds too many bodies of requests now; send again in {RETRY_SECONDS} s"
        super().__init__(503, detail, {"Retry-After": str(RETRY_SECONDS)})


class _Body:
    """The held part of one request's body."""

    def __init__(self, address: str, began: float) -> None:
        self.address = address
        self.began = began
        self.size = 0
        self.is_refused = False
        self.is_complete = False
        self._receiving: CancelScope | None = None

    async def receive(self, receive: Receive) -> Message:
        """Receive the next part.
        Raises BodyRefused, also if another request has this body refused meanwhile."""
        message: Message = {}
        if not self.is_refused:
            try:
                with CancelScope() as self._receiving:
                    message = await receive()
            finally:
                self._receiving = None
        if self.is_refused:
            raise BodyRefused
        return message

    def refuse(self) -> None:
        self.is_refused = True
        if self._receiving is not None:
            self._receiving.cancel()


class BodyLimitMiddleware:
    """The ASGI middleware that bounds the held bodies.
    If more would be held than may be, incomplete bodies are refused. The slowest goes first, if it comes too
    slowly to end in time, and then the oldest of the address that has most held. So a sender at full speed,
    and senders of bodies without an end, make room for others."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        most: int = MAX_HELD,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._most = most
        self._clock = clock
        self._size = 0
        self._sizes: Counter[str] = Counter()
        self._bodies: defaultdict[str, dict[_Body, None]] = defaultdict(dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, with its body counted."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(address_of(scope), self._clock())

        async def receive_bounded() -> Message:
            message = await body.receive(receive)
            if message["type"] == "http.request":
                body.is_complete = not message.get("more_body", False)
                self._add(body, len(message.get("body", b"")))
            return message

        def release() -> None:
            self._release(body)

        scope[_KEY] = release
        try:
            await self._app(scope, receive_bounded, send)
        finally:
            release()

    def _add(self, body: _Body, size: int) -> None:
        if not size:
            return
        body.size += size
        self._size += size
        self._sizes[body.address] += size
        self._bodies[body.address][body] = None
        while self._size > self._most:
            refused = self._to_refuse() or body
            refused.refuse()
            self._release(refused)
            self._metrics.http_bodies_refused.inc()
        if body.is_refused:
            raise BodyRefused

    def _to_refuse(self) -> _Body | None:
        now = self._clock()
        by_address = (self._bodies[address] for address, _ in self._sizes.most_common())
        unended = [body for bodies in by_address for body in bodies if not body.is_complete]
        rates = {body: body.size / (now - body.began) for body in unended if now - body.began > RATE_SECONDS}
        slowest = min(rates, key=rates.__getitem__, default=None)
        if slowest is not None and rates[slowest] < SLOW_RATE:
            return slowest
        return unended[0] if unended else None

    def _release(self, body: _Body) -> None:
        """Release the body from the count.
        Its request may go on, and what is read of it later counts anew."""
        if not body.size:
            return
        self._size -= body.size
        self._sizes[body.address] -= body.size
        body.size = 0
        del self._bodies[body.address][body]
        if not self._bodies[body.address]:
            del self._bodies[body.address], self._sizes[body.address]


def release_body(scope: Scope) -> None:
    """Release the request's body from the bound, because it was checked and is not kept."""
    release: Callable[[], None] = scope[_KEY]
    release()
