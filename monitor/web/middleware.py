"""The middleware around every request.

`AccessLogMiddleware` gives each request an id, a line in the log and a place in the metrics. Both are written
when the answer begins, because the answer of a feed has no end. The id is the proxy's (`X-Request-ID`) if it
is well formed, so that both logs can be read together. The answer bears the id, and so do problem details and
every log line that is written for the request.

`HeadMiddleware` answers HEAD by asking the app for GET and leaving the body out.

`UnexpectedErrorMiddleware` answers an unexpected exception without any detail of the cause. The exception
is logged with an id that the answer bears. `on_database_away` answers when the database cannot be reached,
which is no defect of the program.
"""

import asyncio
import logging
import re
import time
from uuid import uuid4

from fastapi import Request, Response
from starlette._utils import get_route_path
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.concurrency import MAX_WAITING, WAIT_SECONDS, Overloaded
from monitor.database.engine import is_too_long
from monitor.observability import logging as observability_logging
from monitor.observability.metrics import Metrics
from monitor.web.problems import answer_error

HEADER = "X-Request-ID"
SANE = re.compile(r"[A-Za-z0-9._~+/=@:-]{1,128}")
MAX_PATH = 2_000  # characters of a path that are logged: a run's page with two names of 250, as UTF-8 in %XX
INGEST = "/api/v1/events"
PROBES = frozenset({"/livez", "/readyz", "/health", "/metrics"})
PREFIXES = (("/static/", "static"), ("/api", "api"))
QUIET = frozenset({"probe", "static"})
"""The areas that machines or pages request all the time. They are logged at the level debug only."""

access_logger = logging.getLogger("monitor.access")


class AccessLogMiddleware:
    """The ASGI middleware that logs requests.
    It stands within the one that knows the path's prefix, and around all that answers."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        arrived, has_begun = time.perf_counter(), False
        own_id = Headers(scope=scope).get(HEADER, "")
        request_id = own_id if SANE.fullmatch(own_id) else uuid4().hex
        observability_logging.bind(request_id=request_id)

        async def send_observed(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                MutableHeaders(scope=message)[HEADER] = request_id
                self._note(scope, message["status"], time.perf_counter() - arrived)
            await send(message)

        try:
            await self._app(scope, receive, send_observed)
        finally:
            if not has_begun:
                self._note(scope, 500, time.perf_counter() - arrived)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        path = get_route_path(scope)
        area = area_of(scope["method"], path)
        self._metrics.http_requests.labels(area, f"{status // 100}xx").inc()
        self._metrics.http_seconds.labels(area).observe(seconds)
        level = logging.DEBUG if area in QUIET and status < 400 else logging.INFO
        if access_logger.isEnabledFor(level):
            about = {"status": status, "seconds": round(seconds, 4), "client": (scope["client"] or ("",))[0]}
            shown_path = path if len(path) <= MAX_PATH else f"{path[:MAX_PATH]}… ({len(path)} characters)"
            fields = {"method": scope["method"], "path": shown_path, **about}
            access_logger.log(level, "%s %s %d", scope["method"], shown_path, status, extra=fields)


def area_of(method: str, path: str) -> str:
    """Return the kind of the request, for metrics."""
    if method == "POST" and path == INGEST:
        return "ingest"
    if path == "/events":
        return "feed"
    if path in PROBES:
        return "probe"
    return next((area for prefix, area in PREFIXES if path.startswith(prefix)), "page")


class HeadMiddleware:
    """The ASGI middleware for HEAD.
    It asks the app for GET and keeps the body back. A feed has no end, so it gets its reader's end as soon
    as its headers are out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        event, is_asked = asyncio.Event(), False

        async def nothing() -> Message:
            nonlocal is_asked
            if not is_asked:
                is_asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await event.wait()
            return {"type": "http.disconnect"}

        async def headers_only(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                event.set()

        await self._app({**scope, "method": "GET"}, nothing, headers_only)


DATABASE_RETRY = 5  # seconds, in Retry-After: a database that restarts is back within a few
OVERLOADED_RETRY = 5  # seconds, in Retry-After: most reads take milliseconds, so a queue is soon empty again
CLIENT_GONE = 499  # nginx's number for a client that closed the connection before it had its answer

logger = logging.getLogger(__name__)


class UnexpectedErrorMiddleware:
    """The ASGI middleware that answers an unknown exception with a 500 problem.
    It stands within the one that sets the security headers, so that this answer has them too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        has_begun = False

        async def send_tracked(message: Message) -> None:
            nonlocal has_begun
            has_begun = has_begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, send_tracked)
        except Exception as error:
            if scope["type"] != "http" or has_begun:
                raise  # the server logs it, and cuts the answer off, which a reader notices
            await _answer(Request(scope), error)(scope, receive, send)


def _answer(request: Request, error: Exception) -> Response:
    incident = f"urn:uuid:{uuid4()}"
    logger.error("%s %s failed, %s", request.method, request.url.path, incident, exc_info=error)
    request.app.state.services.metrics.http_failures.labels("unexpected").inc()
    detail = f"a defect of the monitor; its log has more about {incident}"
    return answer_error(request, 500, detail, {}, instance=incident)


async def on_database_away(request: Request, error: Exception) -> Response:
    """Answer that the database does not answer or took too long."""
    logger.error("%s %s: the database does not answer", request.method, request.url.path, exc_info=error)
    request.app.state.services.metrics.http_failures.labels("database").inc()
    if is_too_long(error):
        seconds = request.app.state.services.settings.database_statement_timeout
        detail = (
            f"the database took longer than {seconds:g} s; ask for less (one DAG, a shorter time), or set "
            "WINDSOCK_DATABASE_STATEMENT_TIMEOUT"
        )
    else:
        detail = f"the database does not answer now; try again in {DATABASE_RETRY} s"
    return answer_error(request, 503, detail, {"Retry-After": str(DATABASE_RETRY)})


async def on_overloaded(request: Request, error: Exception) -> Response:
    """Answer 429 to a user with too many requests at once, or 503 to a request that waited too long."""
    request.app.state.services.metrics.http_failures.labels("overloaded").inc()
    if isinstance(error, Overloaded) and error.is_too_many:
        status, what = 429, f"{MAX_WAITING} of your requests wait already"
    else:
        status, what = 503, f"the database was busy with other requests, yours too, for {WAIT_SECONDS:g} s"
    detail = f"{what}; send fewer at once, ask for less (one DAG, a shorter time), and come again in"
    detail = f"{detail} {OVERLOADED_RETRY} s"
    return answer_error(request, status, detail, {"Retry-After": str(OVERLOADED_RETRY)})


async def on_client_gone(_request: Request, _error: Exception) -> Response:
    """Answer with the status for the log. The client is gone and does not read the answer."""
    return Response(status_code=CLIENT_GONE)
