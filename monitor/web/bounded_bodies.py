"""A bound on the request bodies that this process holds in all.

A signature is checked over a whole body, so whoever sends one fills memory before anything is known of it.
Each body has its own bound (receive.py, security.py); this is the bound on their sum.
"""

from collections import Counter, defaultdict
from collections.abc import Callable

from anyio import CancelScope
from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.metrics import Metrics

MAX_HELD = (
    64 * 1024 * 1024
)  # bytes: 16 of the longest bodies; they take milliseconds to arrive and be checked
RETRY_SECONDS = 5  # what Retry-After asks of a refused sender

_KEY = "windsock.release_body"


class BodyRefused(HTTPException):
    """503: too much is held of the bodies of all requests."""

    def __init__(self) -> None:
        detail = f"the monitor holds too many bodies of requests now; send again in {RETRY_SECONDS} s"
        super().__init__(503, detail, {"Retry-After": str(RETRY_SECONDS)})


class _Body:
    """What is held of one request's body."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.size = 0
        self.is_refused = False
        self.is_complete = False
        self._receiving: CancelScope | None = None

    async def receive(self, receive: Receive) -> Message:
        """Receive the next part. Raises BodyRefused, also where another request refuses it meanwhile."""
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


class BoundedBodies:
    """ASGI middleware. Where more would be held than may be, bodies that are not complete are refused: of the
    address that has most held, the one that began first. So a sender at full speed, and one that sends a body
    and never its end, make room for others."""

    def __init__(self, app: ASGIApp, metrics: Metrics, most: int = MAX_HELD) -> None:
        self._app = app
        self._metrics = metrics
        self._most = most
        self._size = 0
        self._sizes: Counter[str] = Counter()
        self._bodies: defaultdict[str, dict[_Body, None]] = defaultdict(dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        body = _Body(client[0] if client else "unknown")

        async def bounded() -> Message:
            message = await body.receive(receive)
            if message["type"] == "http.request":
                body.is_complete = not message.get("more_body", False)
                self._add(body, len(message.get("body", b"")))
            return message

        def release() -> None:
            self._release(body)

        scope[_KEY] = release
        try:
            await self._app(scope, bounded, send)
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
        for address, _ in self._sizes.most_common():
            for body in self._bodies[address]:
                if not body.is_complete:
                    return body
        return None

    def _release(self, body: _Body) -> None:
        """Count it no more. It may go on: what is read of it later counts anew."""
        if not body.size:
            return
        self._size -= body.size
        self._sizes[body.address] -= body.size
        body.size = 0
        del self._bodies[body.address][body]
        if not self._bodies[body.address]:
            del self._bodies[body.address], self._sizes[body.address]


def release_body(scope: Scope) -> None:
    """The request's body was checked, and is not kept: it counts no more."""
    release: Callable[[], None] = scope[_KEY]
    release()
