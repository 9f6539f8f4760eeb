"""The monitor's paths: its prefix behind a proxy, and the versioned addresses of static files.

The prefix is the path under which a reverse proxy shows the monitor, taken from the monitor's public
address. A proxy may hand a path on with the prefix (`/windsock/runs`) or without it (`/runs`).
`PrefixMiddleware` leads both to the same page, and every link and redirect bears the prefix.

`VersionedFiles` serves scripts, styles and pictures under an address that changes with their content,
`/static/<version>/…`. Scripts import each other by relative paths, so all files share one version. A
browser keeps each file forever. During a rolling upgrade, pages of one release ask for files of another. So
any version is answered, and a browser may keep only files of the version that this process serves.
"""

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import RedirectResponse
from starlette._utils import get_route_path
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send


def prefix_of(url: str) -> str:
    """Return `/windsock` of `https://example.com/windsock`, or "" if the monitor has a host to itself."""
    return urlsplit(url).path.rstrip("/")


class PrefixMiddleware:
    """The ASGI middleware that sets the prefix.
    A path that came without the prefix gets it back, because mounted apps rely on it."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if self._prefix and scope["type"] == "http":
            scope = {**scope, "root_path": self._prefix}
            if get_route_path(scope) == scope["path"]:
                scope["path"] = self._prefix + scope["path"]
        await self._app(scope, receive, send)


def path_prefix(request: Request) -> str:
    """Return the prefix, for links."""
    return str(request.scope.get("root_path", ""))


def path_of(request: Request) -> str:
    """Return the path that was asked for, without the prefix."""
    return get_route_path(request.scope)


def redirect(request: Request, path: str) -> RedirectResponse:
    """Redirect to another page of this monitor. `path` is without the prefix."""
    return RedirectResponse(path_prefix(request) + path, 303)


VERSION_DIGITS = 16
VERSION = re.compile(rf"[0-9a-f]{{{VERSION_DIGITS}}}")
FOR_GOOD = "public, max-age=31536000, immutable"  # a year, the longest that caches take for a promise
ASK_FIRST = "no-cache"  # kept, and asked for by its ETag


@lru_cache(maxsize=1)
def version_of(directory: Path) -> str:
    """Return the version of all files together, as they are when the first page is made."""
    digest = hashlib.sha256()
    for file in sorted(path for path in directory.rglob("*") if path.is_file()):
        digest.update(file.relative_to(directory).as_posix().encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:VERSION_DIGITS]


class VersionedFiles(StaticFiles):
    """The static files, whose addresses hold their version."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory=directory)
        self._version = version_of(directory)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with the file, with a cache lifetime that follows from the version."""
        version, _, rest = path.partition("/")
        answer = await super().get_response(rest if VERSION.fullmatch(version) else path, scope)
        answer.headers["Cache-Control"] = FOR_GOOD if version == self._version else ASK_FIRST
        return answer
