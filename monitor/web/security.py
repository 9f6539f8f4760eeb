"""What every answer carries, and which requests are refused before anything looks at them."""

from urllib.parse import urlsplit

from starlette._utils import get_route_path
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.settings import Settings
from monitor.web.problem import problem

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
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
MAX_FORM = 65_536  # bytes; the longest is a name, a password and an address to go back to
MAX_DIGITS = 10  # of a length: Python reads no number of thousands
INGEST = "/api/v1/events"  # has a limit of its own (receive.py)
ONE_CLICK = "/links/unsubscribe/"
"""A mail provider's own button posts there (RFC 8058); no cookie counts, the token is the whole right."""
STATIC = "/static/"
PROBES = frozenset({"/livez", "/readyz"})


class Security:
    """ASGI middleware: sets the headers, and refuses foreign hosts and foreign pages.

    Without sign-in the loopback address is the only lock. A web page anywhere could point its own name at
    127.0.0.1 and read through the visitor's browser (DNS rebinding), so the Host has to be ours.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        own = {urlsplit(settings.url).hostname, settings.host}
        self._hosts = LOOPBACK | {host for host in own if host} if settings.auth == "none" else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if not get_route_path(scope).startswith(STATIC):
                    headers.setdefault("Cache-Control", "no-store")  # each answer is for its reader alone
            await send(message)

        if refusal := self._refusal(scope):
            await problem(*refusal, prefix=scope.get("root_path", ""))(scope, receive, with_headers)
        else:
            await self._app(scope, receive, with_headers)

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
        return None if path == INGEST else _oversized(headers)


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _oversized(headers: Headers) -> tuple[int, str] | None:
    """Forms are read into memory whole, before anybody has signed in, so their length is asked for first."""
    if "transfer-encoding" in headers:
        return 411, "send a Content-Length"
    length = headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > MAX_DIGITS or int(length) > MAX_FORM:
        return 413, f"a form has at most {MAX_FORM} bytes"
    return None


def _is_foreign(headers: Headers, host: str) -> bool:
    """Whether a browser says that another site's page made the request. Programs say nothing."""
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
