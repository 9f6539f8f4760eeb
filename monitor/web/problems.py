"""The error responses, as problem details (RFC 9457).

Each kind of error has a type that programs can rely on. A type is the address of the kind's description on
this monitor's /docs page. The part after its `#` never changes, whatever path prefix stands before it.
"""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount

from monitor.observability import logging
from monitor.web.auth.authenticator import Principal
from monitor.web.paths import path_of, path_prefix
from monitor.web.templating import render


@dataclass(frozen=True)
class ProblemType:
    """A type of problem (RFC 9457)."""

    name: str
    status: int
    title: str
    meaning: str
    """The meaning of the problem, and its remedy."""

    @property
    def anchor(self) -> str:
        """The anchor of the type's description."""
        return f"problem-{self.name}"

    def type(self, at: str) -> str:
        """Return the type's address. `at` is the monitor's path prefix."""
        return f"{at}/docs#{self.anchor}"


SIGNATURE = ProblemType(
    "signature",
    401,
    "Wrong signature",
    "The signature of the batch is missing or wrong, or its time is more than 5 minutes off. Keep the "
    "events; compare the secrets and the clocks of both machines.",
)
NOT_HTTP = ProblemType(
    "not-http",
    400,
    "Not HTTP",
    "What came is no whole HTTP request. It says nothing about what was to be sent: keep that, mend what "
    "stands between, and send it again.",
)
KINDS = (
    ProblemType("malformed", 400, "Malformed", "The request cannot be read. Sending it again does not help."),
    NOT_HTTP,
    ProblemType(
        "sign-in",
        401,
        "Not signed in",
        "No session, or no bearer token that is accepted. Sign in, or send one.",
    ),
    SIGNATURE,
    ProblemType(
        "forbidden",
        403,
        "Not allowed",
        "Your rights do not reach so far, or the request did not prove that it is your own: a session sends "
        "its CSRF token, and no page of another site may send requests.",
    ),
    ProblemType("not-found", 404, "Not found", "There is no such thing, or none that you may read."),
    ProblemType("method", 405, "Method not allowed", "The header Allow names what this address takes."),
    ProblemType("conflict", 409, "Conflict", "It is in a state in which this cannot be done; read it again."),
    ProblemType("length", 411, "Length required", "Send the header Content-Length."),
    ProblemType("too-large", 413, "Too large", "The body is longer than what is taken. Send less at once."),
    ProblemType("address", 414, "Address too long", "The address is longer than 8 KiB. Send fewer filters."),
    ProblemType("media-type", 415, "Unsupported media type", "The body is of a kind that is not taken here."),
    ProblemType(
        "host",
        421,
        "Not this monitor's name",
        "Without sign-in only requests to the monitor's own names are taken: set WINDSOCK_PUBLIC_URL to how "
        "you reach it.",
    ),
    ProblemType(
        "invalid",
        422,
        "Invalid value",
        "`errors` names each wrong parameter, or the pointer (RFC 6901) to each wrong value of the body, "
        "and why.",
    ),
    ProblemType("wait", 429, "Too many requests", "Come again after as many seconds as Retry-After says."),
    ProblemType(
        "head", 431, "Head too large", "The request line and headers are longer than 32 KiB. Send less."
    ),
    ProblemType(
        "internal",
        500,
        "Internal error",
        "A defect of the monitor. Its log has the reason, under the id that `instance` names.",
    ),
    ProblemType(
        "unavailable",
        503,
        "Unavailable",
        "Something that the answer depends on (the database, Airflow, room for one more feed or body) is not "
        "there now. Come again after as many seconds as Retry-After says.",
    ),
)
BY_STATUS = {kind.status: kind for kind in KINDS if kind not in (SIGNATURE, NOT_HTTP)}
"""The problem for an error's status, unless another is given."""

CONTENT_TYPE = "application/problem+json"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
UNREADABLE = "There was an error parsing the body"  # FastAPI's words for what is no UTF-8
MAX_ERRORS = 20  # mistakes of one request in the answer: enough to mend it, whatever was sent
MAX_VALUE = 100  # characters of a wrong value that its message repeats

Mistake = dict[str, Any]
"""A wrong value: `detail`, and `parameter` or `pointer` (RFC 6901, as a fragment), and `value`."""


class Invalid(HTTPException):
    """The error 422 for a wrong value in a body of the right shape. `field` is such as `match.dag_id`."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(422, f"{field}: {detail}")
        self.mistakes = [{"detail": detail, "pointer": _pointer(field.split("."))}]


def problem(
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    prefix: str = "",
    kind: ProblemType | None = None,
    **more: Any,
) -> JSONResponse:
    """Return an error answer: its kind, what is wrong and how to mend it. `prefix` is the monitor's path."""
    kind = kind or BY_STATUS.get(status)
    body = {
        "type": kind.type(prefix) if kind else "about:blank",
        "title": kind.title if kind else HTTPStatus(status).phrase,
        "status": status,
        "detail": _clean(detail),
    }
    if request_id := logging.request_id():
        body["request_id"] = request_id
    headers = {"Cache-Control": "no-store", **(headers or {})}
    return JSONResponse(body | more, status, headers, media_type=CONTENT_TYPE)


FindPrincipal = Callable[[Request], Awaitable[Principal | None]]
"""A function that returns the principal, or None. Raises nothing."""
Handler = Callable[[Request, Exception], Awaitable[Response]]
WITH_NAVIGATION = frozenset({403, 404, 405, 409, 422})
"""The errors of a request with a reader. With other errors no user can be identified, or the monitor fails.
"""
REMEDIES = {
    403: "Ask whoever gives rights in Airflow, or sign in as someone else.",
    404: "Check the address. What is old is deleted after the time that the log is kept.",
    405: "Go back and use the buttons of the page.",
}


def error_handlers(find_principal: FindPrincipal) -> tuple[Handler, Handler]:
    """Return the handlers of HTTP errors and of invalid requests.
    Their pages keep the reader's navigation."""

    async def on_http_error(request: Request, error: Exception) -> Response:
        principal = await _find_reader(request, error, find_principal)
        return _on_http_error(request, error, principal)

    async def on_invalid_request(request: Request, error: Exception) -> Response:
        if not isinstance(error, RequestValidationError):
            raise error
        mistakes = [_mistake(invalid) for invalid in error.errors()[:MAX_ERRORS]]
        detail = "; ".join(f"{_name(mistake)}: {mistake['detail']}" for mistake in mistakes)
        principal = await find_principal(request) if _is_for_people(request) else None
        return answer_error(request, 422, detail, {}, principal, errors=mistakes)

    return on_http_error, on_invalid_request


async def _find_reader(request: Request, error: Exception, find_principal: FindPrincipal) -> Principal | None:
    status = getattr(error, "status_code", None)
    return await find_principal(request) if status in WITH_NAVIGATION and _is_for_people(request) else None


def _on_http_error(request: Request, error: Exception, principal: Principal | None) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_list_methods(request))
    more = {"errors": error.mistakes} if isinstance(error, Invalid) else {}
    detail = str(error.detail)
    if detail == HTTPStatus(error.status_code).phrase:  # Starlette's own: say what was asked for
        detail = f"{detail}: {request.method} {path_of(request)}"
    elif detail == UNREADABLE:
        detail = "the body cannot be read: send JSON in UTF-8"
    return answer_error(request, error.status_code, detail, headers, principal, **more)


def answer_error(
    request: Request,
    status: int,
    detail: str,
    headers: Mapping[str, str],
    principal: Principal | None = None,
    **more: Any,
) -> Response:
    """Answer with a page if a browser asks for one, and else, or on the API's paths, with a problem."""
    if _is_for_people(request):
        values = {"title": HTTPStatus(status).phrase, "code": status, "detail": _clean(detail)}
        values["remedy"] = REMEDIES.get(status)
        return render(request, "error.html", principal, status, headers, **values)
    return problem(status, detail, headers, path_prefix(request), **more)


def _is_for_people(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "") and not _is_for_programs(path_of(request))


def _is_for_programs(path: str) -> bool:
    return path in ("/events", "/api", "/openapi.json") or path.startswith("/api/")


def _list_methods(request: Request) -> list[str]:
    """Return the methods that this address takes. Each route of a shared path is asked (RFC 9110, 15.5.6)."""
    routes = [route for route in request.app.router.routes if not isinstance(route, Mount)]

    def takes(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in routes)

    methods = [method for method in METHODS if takes(method)] or ["GET"]  # static files are read only
    return [*methods, "HEAD"] if "GET" in methods else methods


def _mistake(error: Mapping[str, Any]) -> Mistake:
    place, *path = error["loc"]
    if error["type"] == "json_invalid":
        return {"detail": f"is not JSON: {_clean(error['ctx']['error'])}", "pointer": "#"}
    names = (
        {"pointer": _pointer(path)} if place == "body" else {"parameter": _clean(".".join(map(str, path)))}
    )
    value_part = {} if error["type"] == "missing" else {"value": _shorten_value(error.get("input"))}
    return {"detail": _clean(error["msg"]), **names, **value_part}


def _name(mistake: Mistake) -> str:
    """Return the field of a mistake, in words."""
    if "parameter" in mistake:
        return str(mistake["parameter"])
    return str(mistake["pointer"])[2:].replace("/", ".") or "the body"


def _pointer(path: Sequence[object]) -> str:
    escaped = (_clean(str(part)).replace("~", "~0").replace("/", "~1") for part in path)
    return "#" + "".join(f"/{part}" for part in escaped)


def _shorten_value(value: object) -> object:
    """Return a wrong value, short, and such that JSON can hold it."""
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _clean(str(value)[:MAX_VALUE])


def _clean(text: str) -> str:
    """Return text that UTF-8 can hold. Half of a surrogate pair, which JSON's escapes let in, becomes `?`."""
    return text.encode("utf-8", "replace").decode()
