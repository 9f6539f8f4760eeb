"""What nobody foresaw, answered without a word of the inside and logged with an id that is in the answer; and
a database that is away, which is no defect."""

import logging
from uuid import uuid4

from fastapi import Request
from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.database import is_too_long
from monitor.web.problem import answer_error

DATABASE_RETRY = 5  # seconds, in Retry-After: a database that restarts is back within a few

logger = logging.getLogger(__name__)


class Unexpected:
    """ASGI middleware: an exception that no handler knows is a 500 problem. It stands inside what sets the
    security headers, so that this answer has them too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if scope["type"] != "http" or begun:
                raise  # the server logs it, and cuts the answer off, which a reader notices
            await _answer(Request(scope), error)(scope, receive, send)


def _answer(request: Request, error: Exception) -> Response:
    incident = f"urn:uuid:{uuid4()}"
    logger.error("%s %s failed, %s", request.method, request.url.path, incident, exc_info=error)
    request.app.state.services.metrics.http_failures.labels("unexpected").inc()
    detail = f"a defect of the monitor; its log has more about {incident}"
    return answer_error(request, 500, detail, {}, instance=incident)


async def on_database_away(request: Request, error: Exception) -> Response:
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
