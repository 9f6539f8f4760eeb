"""The compression of pages and static files, and the masked CSRF token of pages.

The length of a compressed answer shows how much of a chosen text stands in the answer twice. An attacker who
can put text into a page and see lengths on the network may so guess the rest of the page (BREACH). Three
measures stand against that attack:

- A page bears its CSRF token masked by random bytes, and each answer has other bytes.
- An answer to a request of another site's page is not compressed, so an attacker cannot let a signed-in
  browser ask again and again.
- An answer with another secret (`/links/`, `/login`, new tokens, which answer to POST) is not compressed.

The feed is not compressed, because a compressor holds events back. The API is not either: its programs are
near or ask for little."""

import secrets

from starlette._utils import get_route_path
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MIN_BYTES = 1_000  # a shorter answer fits into one packet anyway
LEVEL = 5  # of 9: within some percent of the smallest, in half of the time
LEFT_ALONE = ("/api/", "/links/", "/login", "/metrics", "/health")
FEED = "/events"
SAME_SITE = frozenset({"same-origin", "none"})
"""Values of Sec-Fetch-Site: this page itself, or an address that the user typed. Programs send none."""


class CompressionMiddleware:
    """The ASGI middleware that compresses answers to GET, if the client takes gzip."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._gzip = GZipMiddleware(app, minimum_size=MIN_BYTES, compresslevel=LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http" or not _may_compress(scope):
            await self._app(scope, receive, send)
            return

        async def send_weak_tag(message: Message) -> None:
            """Send a message, with a weak ETag if it is compressed.

            A strong ETag names one sequence of bytes, and the compressed sequence is another."""
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                tag = headers.get("etag")
                if tag and "content-encoding" in headers and not tag.startswith("W/"):
                    headers["etag"] = f"W/{tag}"
            await send(message)

        await self._gzip(scope, receive, send_weak_tag)


def _may_compress(scope: Scope) -> bool:
    path = get_route_path(scope)
    if scope["method"] != "GET" or path == FEED or path.startswith(LEFT_ALONE):
        return False
    return Headers(scope=scope).get("sec-fetch-site", "none") in SAME_SITE


def mask(token: str) -> str:
    """Return the token in another form each time: random bytes, and the token combined with them."""
    plain = token.encode()
    pad = secrets.token_bytes(len(plain))
    return (pad + _combine(plain, pad)).hex()


def unmask(masked: str) -> str:
    """Return the token of a masked form, or an empty text if the form is none."""
    try:
        both = bytes.fromhex(masked)
    except ValueError:
        return ""
    half = len(both) // 2
    return _combine(both[:half], both[half:]).decode(errors="replace")


def _combine(token: bytes, pad: bytes) -> bytes:
    return bytes(byte ^ noise for byte, noise in zip(token, pad, strict=False))
