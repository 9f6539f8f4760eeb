"""Errors as `application/problem+json` (RFC 9457) for programs, as a page for people."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount

from monitor import logs
from monitor.web.prefix import at, path_of
from monitor.web.problem_kinds import BY_STATUS, Kind
from monitor.web.rendering import render

CONTENT_TYPE = "application/problem+json"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
UNREADABLE = "There was an error parsing the body"  # FastAPI's words for what is no UTF-8
MAX_ERRORS = 20  # of one request that are told: enough to mend it, whatever somebody sends
MAX_VALUE = 100  # characters of a wrong value that its message repeats

Mistake = dict[str, Any]
"""One wrong value: `detail`, and `parameter` or `pointer` (RFC 6901, as a fragment), and `value`."""


class Invalid(HTTPException):
    """422: a value of the body that is wrong, though its shape is right. `field`: such as `match.dag_id`."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(422, f"{field}: {detail}")
        self.mistakes = [{"detail": detail, "pointer": _pointer(field.split("."))}]


def problem(
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    prefix: str = "",
    kind: Kind | None = None,
    **more: Any,
) -> JSONResponse:
    """An error answer: its kind, and what is wrong here and how to mend it. `prefix`: the monitor's path."""
    kind = kind or BY_STATUS.get(status)
    body = {
        "type": kind.type(prefix) if kind else "about:blank",
        "title": kind.title if kind else HTTPStatus(status).phrase,
        "status": status,
        "detail": _clean(detail),
    }
    if asked := logs.request_id():
        body["request_id"] = asked
    headers = {"Cache-Control": "no-store", **(headers or {})}
    return JSONResponse(body | more, status, headers, media_type=CONTENT_TYPE)


async def on_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_allowed(request))
    more = {"errors": error.mistakes} if isinstance(error, Invalid) else {}
    detail = str(error.detail)
    if detail == HTTPStatus(error.status_code).phrase:  # Starlette's own: say what was asked for
        detail = f"{detail}: {request.method} {path_of(request)}"
    elif detail == UNREADABLE:
        detail = "the body cannot be read: send JSON in UTF-8"
    return answer_error(request, error.status_code, detail, headers, **more)


async def on_invalid_request(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    mistakes = [_mistake(one) for one in error.errors()[:MAX_ERRORS]]
    detail = "; ".join(f"{_name(one)}: {one['detail']}" for one in mistakes)
    return answer_error(request, 422, detail, {}, errors=mistakes)


def answer_error(
    request: Request, status: int, detail: str, headers: Mapping[str, str], **more: Any
) -> Response:
    """A page for a browser that asks for one, a problem for all others and for the API's paths."""
    if "text/html" in request.headers.get("accept", "") and not _is_for_programs(path_of(request)):
        title = HTTPStatus(status).phrase
        return render(
            request, "error.html", None, status, headers, title=title, code=status, detail=_clean(detail)
        )
    return problem(status, detail, headers, at(request), **more)


def _is_for_programs(path: str) -> bool:
    return path in ("/events", "/api", "/openapi.json") or path.startswith("/api/")


def _allowed(request: Request) -> list[str]:
    """What this address takes. A path that several routes share is asked of each (RFC 9110, 15.5.6)."""
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
    named = (
        {"pointer": _pointer(path)} if place == "body" else {"parameter": _clean(".".join(map(str, path)))}
    )
    shown = {} if error["type"] == "missing" else {"value": _shown(error.get("input"))}
    return {"detail": _clean(error["msg"]), **named, **shown}


def _name(mistake: Mistake) -> str:
    """The field of a mistake, in words."""
    if "parameter" in mistake:
        return str(mistake["parameter"])
    return str(mistake["pointer"])[2:].replace("/", ".") or "the body"


def _pointer(path: Sequence[object]) -> str:
    escaped = (_clean(str(part)).replace("~", "~0").replace("/", "~1") for part in path)
    return "#" + "".join(f"/{part}" for part in escaped)


def _shown(value: object) -> object:
    """A wrong value, short, and such that JSON can hold it."""
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _clean(str(value)[:MAX_VALUE])


def _clean(text: str) -> str:
    """Text that UTF-8 can hold: half of a surrogate pair, which JSON's escapes let in, becomes `?`."""
    return text.encode("utf-8", "replace").decode()
