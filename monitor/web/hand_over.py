"""Lets an endpoint hand its connection over to something that stays, and be done with it.

A feed is open for days. Behind an ordinary response the whole request stays in memory as long: the frames of
every middleware and of the router, the parsed query, the exit stacks; and each write passes through all of
them. An endpoint that hands over returns as soon as its answer has begun; what stays is the connection.
"""

from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Receive, Scope, Send

Staying = Callable[[Receive, Send], Awaitable[None]]
"""Goes on with an answer that has begun, and ends it."""

_KEY = "windsock.staying"


def hand_over(scope: Scope, staying: Staying) -> None:
    """Go on with `staying` once the endpoint, and all that is around it, has returned."""
    scope[_KEY].append(staying)


class HandOver:
    """ASGI middleware, around all others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        staying: list[Staying] = []
        # A copy: what the router and the endpoint put into the scope must not stay with the connection.
        await self._app({**scope, _KEY: staying}, receive, send)
        if staying and scope["method"] != "HEAD":
            await staying.pop()(receive, send)
