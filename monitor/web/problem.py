"""Errors as `application/problem+json` (RFC 9457) for programs, as a page for people."""

from http import HTTPStatus

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from monitor.web.prefix import path_of
from monitor.web.rendering import render

CONTENT_TYPE = "application/problem+json"


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error answer: the status, its phrase, and what is wrong here and how to mend it."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(body, status, headers, media_type=CONTENT_TYPE)


async def on_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return _answer(request, error.status_code, str(error.detail), dict(error.headers or {}))


async def on_invalid_request(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    wrong = (f"{'.'.join(str(p) for p in e['loc'][1:])}: {e['msg']}" for e in error.errors())
    return _answer(request, 422, "; ".join(wrong), {})


def _answer(request: Request, status: int, detail: str, headers: dict[str, str]) -> Response:
    path = path_of(request)
    for_programs = path == "/events" or path.startswith("/api")
    if "text/html" in request.headers.get("accept", "") and not for_programs:
        title = HTTPStatus(status).phrase
        return render(request, "error.html", None, status, headers, title=title, code=status, detail=detail)
    return problem(status, detail, headers)
