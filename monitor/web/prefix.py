"""The path under which a reverse proxy shows the monitor, taken from its public address.

A proxy may hand the path on as it came (`/windsock/runs`) or without the prefix (`/runs`): both arrive at the
same page, and every link and redirect bears the prefix.
"""

from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import RedirectResponse
from starlette._utils import get_route_path
from starlette.types import ASGIApp, Receive, Scope, Send


def prefix_of(url: str) -> str:
    """`/windsock` of `https://example.com/windsock`; nothing where the monitor has a host to itself."""
    return urlsplit(url).path.rstrip("/")


class Prefix:
    """ASGI middleware: names the prefix to what is within, and gives it back to a path that came without it,
    which mounted apps rely on."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._prefix and scope["type"] == "http":
            scope = {**scope, "root_path": self._prefix}
            if get_route_path(scope) == scope["path"]:
                scope["path"] = self._prefix + scope["path"]
        await self._app(scope, receive, send)


def at(request: Request) -> str:
    """The prefix, for links."""
    return str(request.scope.get("root_path", ""))


def path_of(request: Request) -> str:
    """The path that was asked for, without the prefix."""
    return get_route_path(request.scope)


def redirect(request: Request, path: str) -> RedirectResponse:
    """See another page of this monitor; `path` without the prefix."""
    return RedirectResponse(at(request) + path, 303)
