"""The HTTP protocol with bounds: on a request's head, on the time that heads and bodies take, on connections.

uvicorn's protocol collects a request's head without a limit and waits for its end for ever, so one connection
could take all memory and a thousand half requests every file descriptor. The bounds are here because only the
protocol sees bytes before a request exists.
"""

import asyncio
import json
from collections import OrderedDict
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from monitor.metrics import Metrics
from monitor.web.problem import CONTENT_TYPE
from monitor.web.problem_kinds import BY_STATUS
from monitor.web.security import HEADERS

MAX_TARGET = 8 * 1024  # bytes of a request's address: RFC 9112, 3 asks for 8,000 at least
MAX_HEAD = 32 * 1024  # bytes of request line and headers; also of what follows a chunked body
MAX_HEADERS = 100  # as Apache's default; libraries look through all of them for each one that they want
MAX_HEADER = 8 * 1024  # bytes of one header, as nginx's and Apache's defaults: values are parsed by libraries
HEAD_SECONDS = 10.0  # from a connection's opening, or a request's first byte, to the end of its head
BODY_SECONDS = 60.0  # for a whole body: the largest, 4 MiB, needs 70 kB/s
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
    """The request breaks a bound; `status` says which."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class ConnectionLimit:
    """Counts the connections of a server. When `most` are open, the one that has waited longest for a
    request's head gives way; a newcomer is refused only when none waits."""

    def __init__(self, most: int, metrics: Metrics) -> None:
        self.most = most
        self.metrics = metrics
        self._waiting: OrderedDict[BoundedHttpProtocol, None] = OrderedDict()

    def admit(self, open_connections: int) -> bool:
        """Return True if one more connection may stay; `open_connections` includes it."""
        if open_connections <= self.most:
            return True
        if not self._waiting:
            return False
        oldest, _ = self._waiting.popitem(last=False)
        oldest.cut("connections")
        return True

    def add_waiting(self, protocol: "BoundedHttpProtocol") -> None:
        self._waiting[protocol] = None

    def remove_waiting(self, protocol: "BoundedHttpProtocol") -> None:
        self._waiting.pop(protocol, None)


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol, with this module's bounds."""

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
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limit = limit
        self._head_seconds, self._body_seconds = head_seconds, body_seconds
        self._deadline: asyncio.TimerHandle | None = None
        self._head_size = 0  # bytes of this request's head and trailers that the parser has handed over
        self._unparsed = 0  # bytes received since the parser last handed anything over
        self._in_head = False
        self._refused: int | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._limit.admit(len(self.connections)):
            self._wait_for_head()
        else:
            self._refuse(503, "connections")

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused is not None:
            return  # closed, but for what the transport still has to write
        self._unset_keepalive_if_required()
        self._unparsed += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            reason = error.__context__
            self._refuse(reason.status if isinstance(reason, _Refused) else 400, "head")
        except httptools.HttpParserError:
            self._refuse(400, "head")
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()
        else:
            if self._unparsed > MAX_HEAD:  # one header, or the address, that does not end
                self._refuse(431, "head")

    def on_message_begin(self) -> None:
        self._head_size, self._in_head = 0, True
        if self._deadline is None:
            self._wait_for_head()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        if self._head_size > MAX_TARGET:
            raise _Refused(414)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        size = len(name) + len(value)
        self._count(size)
        if not self._in_head:
            return  # what follows a chunked body is dropped: nothing reads it
        if size > MAX_HEADER or len(self.headers) == MAX_HEADERS:
            raise _Refused(431)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._unparsed, self._in_head = 0, False
        self._stop_waiting()
        self._deadline = self.loop.call_later(self._body_seconds, self.cut, "body_seconds")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unparsed = 0
        self._stop_waiting()
        super().on_message_complete()

    def cut(self, bound: str) -> None:
        """End the connection without an answer: nobody has asked for one yet, or it would not be read."""
        self._limit.metrics.http_cut.labels(bound).inc()
        self._stop_waiting()
        self.transport.abort()

    def _count(self, size: int) -> None:
        self._unparsed = 0
        self._head_size += size
        if self._head_size > MAX_HEAD:
            raise _Refused(431)

    def _wait_for_head(self) -> None:
        self._limit.add_waiting(self)
        self._deadline = self.loop.call_later(self._head_seconds, self.cut, "head_seconds")

    def _stop_waiting(self) -> None:
        self._limit.remove_waiting(self)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: int, bound: str) -> None:
        self._refused = status
        self._limit.metrics.http_cut.labels(bound).inc()
        self._stop_waiting()
        is_answering = bool(self.cycle) and not self.cycle.response_complete
        if not is_answering:  # a refusal must not stand within another answer
            self.transport.write(_answer(status))
        self.transport.close()


def _answer(status: int) -> bytes:
    """A whole response (RFC 9457), with the security headers of all others: the application, which writes
    those, has not seen a request."""
    kind = BY_STATUS[status]
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
