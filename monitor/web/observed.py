"""Each request gets an id, a line in the log, and its place in the metrics.

The id is the proxy's (`X-Request-ID`) where it is sane, so that both logs can be read together; the answer
says it, and so do problem details and every log line that is written for the request.
"""

import logging
import re
import time
from uuid import uuid4

from starlette._utils import get_route_path
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor import logs
from monitor.metrics import Metrics

HEADER = "X-Request-ID"
SANE = re.compile(r"[A-Za-z0-9._~+/=@:-]{1,128}")
MAX_PATH = 2_000  # characters of a path that are logged: a run's page with two names of 250, as UTF-8 in %XX
INGEST = "/api/v1/events"
PROBES = frozenset({"/livez", "/readyz", "/health", "/metrics"})
PREFIXES = (("/static/", "static"), ("/api", "api"))
QUIET = frozenset({"probe", "static"})
"""What is asked for all the time, by machines or with each page: in the log at the level debug only."""

logger = logging.getLogger("monitor.access")


class Observed:
    """ASGI middleware, within what knows the path's prefix and around all that answers."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if SANE.fullmatch(given) else uuid4().hex
        logs.bind(request_id=request_id)

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            self._note(scope, status, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        path = get_route_path(scope)
        area = area_of(scope["method"], path)
        self._metrics.http_requests.labels(area, f"{status // 100}xx").inc()
        self._metrics.http_seconds.labels(area).observe(seconds)
        level = logging.DEBUG if area in QUIET and status < 400 else logging.INFO
        if logger.isEnabledFor(level):
            about = {"status": status, "seconds": round(seconds, 4), "client": (scope["client"] or ("",))[0]}
            asked = path if len(path) <= MAX_PATH else f"{path[:MAX_PATH]}… ({len(path)} characters)"
            known = {"method": scope["method"], "path": asked, **about}
            logger.log(level, "%s %s %d", scope["method"], asked, status, extra=known)


def area_of(method: str, path: str) -> str:
    """What kind of request it is, for metrics."""
    if method == "POST" and path == INGEST:
        return "ingest"
    if path == "/events":
        return "feed"
    if path in PROBES:
        return "probe"
    return next((area for prefix, area in PREFIXES if path.startswith(prefix)), "page")
