"""Answers that programs ask for again and again: one that has not changed is a 304 without a body (RFC 9110).

The tag is a digest of the very answer. Nothing cheaper is always right: silences begin and end by the clock,
deliveries and acknowledgements change without an event, rights change in Airflow, and another replica may
have written. So a poll saves the transfer and the reader's work, and not the query.
"""

import hashlib
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

DIGITS = 32  # of the digest: 128 bits, so that no two answers ever share a tag
KEPT = ("etag", "cache-control", "vary", "link")  # what a 304 repeats of the 200 (RFC 9110, 15.4.5)
CACHING = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"}
"""A browser may keep it, and asks before it shows it again; nobody between may keep it."""


class Polled(APIRoute):
    """A route whose JSON answers to GET bear an ETag."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def with_tag(request: Request) -> Response:
            return _tagged(request, await answer(request))

        return with_tag


def _tagged(request: Request, response: Response) -> Response:
    kind = response.headers.get("content-type", "")
    if request.method != "GET" or response.status_code != 200 or kind != "application/json":
        return response
    tag = f'"{hashlib.sha256(response.body).hexdigest()[:DIGITS]}"'
    response.headers.update({"ETag": tag, **CACHING})
    if not _holds(request.headers.get("if-none-match", ""), tag):
        return response
    return Response(status_code=304, headers={k: v for k, v in response.headers.items() if k in KEPT})


def _holds(if_none_match: str, tag: str) -> bool:
    """By the weak comparison: a proxy that compresses on its way marks tags as weak."""
    known = (one.strip().removeprefix("W/") for one in if_none_match.split(","))
    return any(one in ("*", tag) for one in known)
