"""The security headers of every answer, and the checks that refuse a request before its handler.

The CSRF token of a session is checked in the handlers that change something, by `require_csrf`
(dependencies.py), because a bearer token needs none.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette._utils import get_route_path
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.settings import Settings
from monitor.web.problems import problem

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "frame-src 'self'",  # a letter's HTML part, itself in a sandbox
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OWN_SITES = frozenset({"same-origin", "none"})  # Sec-Fetch-Site: this page itself, or typed by the user
MAX_FORM = 65_536  # bytes: the longest is a name, a password and an address to go back to
MAX_COMMAS = (
    2_000  # of a JSON body: a wrong value takes 7 µs, and the largest match that is taken has 1,000 values
)
MAX_DIGITS = 10  # of a length: Python reads no number of thousands
API = "/api/"
INGEST = "/api/v1/events"  # has a limit of its own (web/api/ingest.py)
ONE_CLICK = "/links/unsubscribe/"
"""The path to which a mail provider's own button posts (RFC 8058). No cookie counts, because the token is
the whole right."""
STATIC = "/static/"
OWN_COOKIES = b"windsock_"  # what the names of all our cookies begin with
PROBES = frozenset({"/livez", "/readyz"})


class SecurityMiddleware:
    """The ASGI middleware that sets the headers, and refuses foreign hosts and foreign pages.

    Without sign-in the loopback address is the only lock. A web page anywhere could point its own name at
    127.0.0.1 and read through the visitor's browser (DNS rebinding), so the Host has to be ours."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        own = {urlsplit(settings.url).hostname, settings.host}
        self._hosts = LOOPBACK | {host for host in own if host} if settings.auth == "none" else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if not get_route_path(scope).startswith(STATIC):
                    headers.setdefault("Cache-Control", "no-store")  # each answer is for its reader alone
            await send(message)

        scope = {**scope, "headers": _keep_own_cookies(scope["headers"])}
        if refusal := self._refusal(scope):
            await problem(*refusal, prefix=scope.get("root_path", ""))(scope, receive, send_with_headers)
        elif _takes_json(scope):
            await self._app(scope, _counting_commas(receive), send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers, path = Headers(scope=scope), get_route_path(scope)
        host = headers.get("host", "")
        if self._hosts and path not in PROBES and _hostname(host) not in self._hosts:
            return (
                421,
                f"Host: {host[:80]!r} is not this monitor's; set WINDSOCK_PUBLIC_URL to how you reach it",
            )
        if scope["method"] in SAFE_METHODS:
            return None
        if not path.startswith(ONE_CLICK) and _is_foreign(headers, host):
            return 403, "this request was sent by a page of another site"
        return None if path == INGEST else _check_length(headers)


def _keep_own_cookies(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers without foreign cookies and without any that hold a backslash.

    Ours never hold one. Every request's cookies are read, and some versions of Python (CVE-2024-7592) take
    seconds to read 30 kB of backslashes."""
    return [
        (
            name,
            b";".join(cookie for cookie in value.split(b";") if _is_own(cookie))
            if name == b"cookie"
            else value,
        )
        for name, value in headers
    ]


def _is_own(cookie: bytes) -> bool:
    return cookie.lstrip().startswith(OWN_COOKIES) and b"\\" not in cookie


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _check_length(headers: Headers) -> tuple[int, str] | None:
    """Return an error if a form is too long.
    Forms are read into memory whole, before anybody has signed in, so their length is checked first."""
    if "transfer-encoding" in headers:
        return 411, "send a Content-Length"
    length = headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > MAX_DIGITS or int(length) > MAX_FORM:
        return 413, f"a form has at most {MAX_FORM} bytes"
    return None


def _takes_json(scope: Scope) -> bool:
    path = get_route_path(scope)
    return scope["method"] not in SAFE_METHODS and path.startswith(API) and path != INGEST


def _counting_commas(receive: Receive) -> Receive:
    """Refuse a body of more values than any request needs: of those, each wrong one would be described."""
    left = MAX_COMMAS

    async def counting() -> Message:
        nonlocal left
        message = await receive()
        left -= message.get("body", b"").count(b",")
        if left < 0:
            raise HTTPException(413, f"the body has more than {MAX_COMMAS} commas; send fewer values")
        return message

    return counting


def _is_foreign(headers: Headers, host: str) -> bool:
    """Return True if a browser says that another site's page made the request. Programs say nothing."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in OWN_SITES
    origin = headers.get("origin")
    return origin is not None and _netloc(origin) != host


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None
