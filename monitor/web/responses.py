"""The documentation of responses, their pages, and their entity tags.

`ETagRoute` serves programs that poll: an answer that has not changed is a 304 without a body (RFC 9110).

The tag is a digest of the whole answer, because nothing cheaper is always right. Silences begin and end by
the clock. Deliveries and acknowledgements change without an event. Rights change in Airflow, and another
replica may have written. So a 304 saves the transfer and the reader's work, but not the query.
"""

import hashlib
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from monitor.database.statements import MAX_PAGE_BYTES, fit
from monitor.web.problems import BY_STATUS

Answers = dict[int | str, dict[str, Any]]
"""The answers, as FastAPI's `responses`."""


class ResponseModel(BaseModel):
    """The base of answers, which reads records by their attributes."""

    model_config = ConfigDict(from_attributes=True)


def example(**values: Any) -> ConfigDict:
    """Return the configuration of an answer that OpenAPI shows an example of."""
    extra: JsonDict = {"examples": [values]}
    return ConfigDict(from_attributes=True, json_schema_extra=extra)


class InvalidValue(ResponseModel):
    """A wrong value of a request."""

    detail: str = Field(description="What is wrong with it")
    parameter: str | None = Field(None, description="The name of the parameter (query, path or header)")
    pointer: str | None = Field(None, description="Where it is in the body (RFC 6901, as a fragment)")
    value: Any = Field(None, description="What was given, shortened")


class Problem(ResponseModel):
    """An error (RFC 9457)."""

    type: str = Field(description="The kind: compare what is behind the `#`, which never changes")
    title: str = Field(description="The kind, in words")
    status: int
    detail: str = Field(description="What is wrong here, and how to mend it")
    instance: str | None = Field(None, description="Of internal errors: what the monitor's log names it by")
    request_id: str | None = Field(
        None, description="Of the request, as the header X-Request-ID: what the monitor's log lines name"
    )
    errors: list[InvalidValue] | None = Field(None, description="Of invalid values: each of them")


SHOWN: dict[int, dict[str, Any]] = {
    400: {"detail": "cursor: 'yesterday' is not of the form epoch-seq, such as 1a2b3c4d-42"},
    401: {
        "detail": "sign in: the request names nobody; send a token as `Authorization: Bearer …`, or sign in "
        "at /login"
    },
    403: {"detail": "the x-csrf-token header or the csrf field is missing or wrong"},
    404: {"detail": "no incident 9 is known"},
    409: {"detail": "incident 4 is closed: airflow.dag_run.success of etl/manual__2"},
    411: {"detail": "send a Content-Length"},
    413: {"detail": "the body is longer than 4194304 bytes; send fewer events"},
    414: {"detail": "the address is longer than 8192 bytes"},
    415: {"detail": "Content-Type: 'text/plain' is not application/cloudevents-batch+json"},
    421: {
        "detail": "Host: 'evil.example' is not this monitor's; set WINDSOCK_PUBLIC_URL to how you reach it"
    },
    422: {
        "detail": "limit: Input should be less than or equal to 500",
        "errors": [
            {"detail": "Input should be less than or equal to 500", "parameter": "limit", "value": "501"}
        ],
    },
    429: {"detail": "too many failed attempts; try again in 30 s"},
    431: {"detail": "the request's head is longer than 32768 bytes"},
    500: {
        "detail": "a defect of the monitor; its log has more about urn:uuid:0b5e…",
        "instance": "urn:uuid:0b5e6f1c-3a0d-4c51-9a52-6f4d8f0b7a11",
    },
    503: {"detail": "Airflow cannot be asked what you may read: it does not answer"},
}
"""The parts of the examples that differ by status."""
_RETRY = {"Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer"}, "example": 10}}
_HEADERS: dict[int, dict[str, Any]] = {
    401: {
        "WWW-Authenticate": {
            "description": "How to name oneself; absent where a signature was wrong",
            "schema": {"type": "string"},
            "example": "Bearer",
        }
    },
    429: _RETRY,
    503: _RETRY,
}


def problems(*statuses: int) -> Answers:
    """Return the error answers of these statuses."""
    return {status: _problem(status) for status in statuses}


def _problem(status: int) -> dict[str, Any]:
    kind = BY_STATUS[status]
    problem_content = {"type": kind.type(""), "title": kind.title, "status": status, **SHOWN[status]}
    problem_content["request_id"] = "9f1c2f7be0d44c0f8a3f5e0d6b1c7a52"
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": problem_content}
    return {
        "description": f"{kind.title}. {kind.meaning}",
        "content": {"application/problem+json": content},
        "headers": _HEADERS.get(status, {}),
    }


SERVER = (414, 431, 500)
"""The errors that any endpoint can answer, whatever it does."""
PROBLEMS = problems(401, 421, 422, 429, 503, *SERVER)
"""The errors that every endpoint with a reader can answer."""
WRITING = PROBLEMS | problems(400, 403, 411, 413)
"""And one that changes something."""

_TAG_HEADERS = {
    "ETag": {
        "description": "Send it back as If-None-Match: what has not changed is answered 304, without a body",
        "schema": {"type": "string"},
        "example": '"5f1a0d3c9b7e42f8a6d4c1b2e3f40516"',
    },
    "Cache-Control": {
        "description": "Keep it for yourself, and ask before you use it again",
        "schema": {"type": "string"},
        "example": "private, no-cache",
    },
    "Vary": {
        "description": "The answer depends on who asks",
        "schema": {"type": "string"},
        "example": "Authorization, Cookie",
    },
}
_LINK_HEADER = {
    "Link": {
        "description": 'RFC 8288: the address of the next page, rel="next"; absent on the last page',
        "schema": {"type": "string"},
        "example": '<?limit=50&cursor=1042>; rel="next"',
    }
}


def etag_responses(*, listed: bool = False) -> Answers:
    """Return the answers with an ETag. A list's also leads to its next page."""
    headers = _TAG_HEADERS | (_LINK_HEADER if listed else {})
    return {
        200: {"description": "What was asked for", "headers": headers},
        304: {"description": "Nothing has changed since the answer of this ETag", "headers": headers},
    }


MAX_LINK = 2_000  # characters: proxies buffer 4 kB of headers, and refuse an answer that has more

T = TypeVar("T")


class Pager:
    """The cut of a list to a page, by rows and by bytes.
    Its callers read one row more than the limit, to see whether more follow."""

    def __init__(self, request: Request, response: Response) -> None:
        self._request = request
        self._response = response

    def page(self, name: str, rows: Iterable[T], limit: int, place: Callable[[T], int]) -> dict[str, Any]:
        """Return the answer, under the list's name. `place` returns the cursor of a row."""
        return self.cut(name, *cut_page(rows, limit, place, MAX_PAGE_BYTES))

    def cut(self, name: str, rows: Sequence[Any], following: int | str | None) -> dict[str, Any]:
        """Return the answer for rows that are a page already, with the cursor of the next."""
        if following is not None:
            self._link(following)
        return {name: rows, "next": following}

    def _link(self, cursor: int | str) -> None:
        """Set the header Link (RFC 8288). Its address is relative, so it is right behind every proxy."""
        params = [pair for pair in self._request.query_params.multi_items() if pair[0] != "cursor"]
        link = f'<?{urlencode([*params, ("cursor", cursor)])}>; rel="next"'
        if len(link) <= MAX_LINK:
            self._response.headers["Link"] = link


MAX_HTML_BYTES = MAX_PAGE_BYTES // 4
"""The bytes of the rows of one list on a page. HTML shows a row's names several times, also in addresses, in
which a character takes up to twelve bytes."""


def cut_page(
    rows: Iterable[T], limit: int, place: Callable[[T], int], most: int = MAX_HTML_BYTES
) -> tuple[list[T], int | None]:
    """Return the rows of one page, and the cursor of the next, or None: this is the last one."""
    page, has_more = fit(rows, limit, most)
    return page, place(page[-1]) if has_more else None


def cut_ledger(
    rows: Sequence[tuple[int, T]], limit: int, most: int = MAX_HTML_BYTES
) -> tuple[list[T], int | None]:
    """Return the rows of a page in turn, of numbered rows newest first, and the cursor of the next."""
    page, following = cut_page(rows, limit, lambda numbered: numbered[0], most)
    return [row for _, row in reversed(page)], following


Paging = Annotated[Pager, Depends(Pager)]
"""The parameter type of a handler that answers a list."""

DIGITS = 32  # of the digest: 128 bits, so that no two answers ever share a tag
KEPT = ("etag", "cache-control", "vary", "link")  # what a 304 repeats of the 200 (RFC 9110, 15.4.5)
CACHING = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"}
"""The headers with which a browser may keep the answer, and asks before it shows it again. No server in
between may keep it."""


class ETagRoute(APIRoute):
    """A route whose JSON answers to GET bear an ETag."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's handler, whose answers have an ETag."""
        answer = super().get_route_handler()

        async def respond(request: Request) -> Response:
            return _add_etag(request, await answer(request))

        return respond


def _add_etag(request: Request, response: Response) -> Response:
    kind = response.headers.get("content-type", "")
    if request.method != "GET" or response.status_code != 200 or kind != "application/json":
        return response
    tag = f'"{hashlib.sha256(response.body).hexdigest()[:DIGITS]}"'
    response.headers.update({"ETag": tag, **CACHING})
    if not _holds(request.headers.get("if-none-match", ""), tag):
        return response
    return Response(status_code=304, headers={k: v for k, v in response.headers.items() if k in KEPT})


def _holds(if_none_match: str, tag: str) -> bool:
    """Return True if the header names the tag, by the weak comparison.
    A proxy that compresses marks tags as weak."""
    tags = (entry.strip().removeprefix("W/") for entry in if_none_match.split(","))
    return any(entry in ("*", tag) for entry in tags)
