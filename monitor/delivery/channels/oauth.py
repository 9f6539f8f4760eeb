"""The access tokens for XOAUTH2, the login of Gmail and Outlook without a password.

A token lives for about an hour. `TokenFile` reads a token from a file that another program keeps fresh.
`TokenRefresher` fetches a token with a refresh token (RFC 6749 section 6). Each login asks for the token, and
no token is ever written anywhere.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx

from monitor.bounded_http import ACCEPT, LOOPBACK, BoundedClient, UnreadableBody, read
from monitor.bounded_json import loads
from monitor.delivery.channels.errors import Unavailable, clean_reply
from monitor.errors import SettingsError
from monitor.settings import Settings

TOKEN_SECONDS = 20.0  # for the token server's answer
EARLY = 60.0  # seconds before its end that a token is not used any more: a login takes a moment
LONGEST = 24 * 3600.0  # seconds: whatever the token server says, a new one is fetched each day
LIFETIME = 3600.0  # seconds, where the token server does not say
MAX_TOKEN = 16 * 1024  # bytes of a token file: tokens have some hundred, those of Microsoft some thousand
MAX_ANSWER = 64 * 1024  # bytes of the token server's answer: a token and a few words
ANSWERS_NOTHING = (
    *(httpx.HTTPError, TimeoutError, asyncio.TimeoutError),
    *(ValueError, KeyError, TypeError, AttributeError, OverflowError),  # of an answer of another form
)
SHOWN = 200  # characters of the token server's reason


class Tokens(Protocol):
    """The source of access tokens for a login."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The tokens and what they are made with: no text about a login may hold them."""

    async def token(self) -> str:
        """Return an access token that holds for a login now. Raises Unavailable."""

    def invalidate(self) -> None:
        """Make the next token another one, because the mail server refused the last."""


@dataclass(frozen=True)
class Grant:
    """The source of tokens: a file, or a refresh token."""

    file: Path | None = None
    url: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Grant | None":
        """Return the grant, or None if mail has a password or no login at all."""
        if settings.smtp_oauth2_token_file:
            return cls(file=settings.smtp_oauth2_token_file)
        if not settings.smtp_oauth2_refresh_token:
            return None
        secret = settings.smtp_oauth2_client_secret
        return cls(
            url=settings.smtp_oauth2_token_url,
            client_id=settings.smtp_oauth2_client_id or "",
            client_secret=secret.get_secret_value() if secret else "",
            refresh_token=settings.smtp_oauth2_refresh_token.get_secret_value(),
        )

    def tokens(self) -> Tokens:
        """Return the source of tokens that the settings name."""
        return TokenFile(self.file) if self.file else TokenRefresher(self)


class TokenFile:
    """A file that holds the token and nothing else, read anew each time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The token that the file held last."""
        return (self._last,)

    async def token(self) -> str:
        """Return the token that the file holds now."""
        self._last = await asyncio.to_thread(self._read)
        return self._last

    def _read(self) -> str:
        try:
            with self._path.open("rb") as file:
                token = file.read(MAX_TOKEN).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise Unavailable(f"WINDSOCK_SMTP_OAUTH2_TOKEN_FILE: {self._path}: {reason}") from None
        if not token:
            raise Unavailable(f"WINDSOCK_SMTP_OAUTH2_TOKEN_FILE: {self._path} is empty")
        return token

    def invalidate(self) -> None:
        """Do nothing, because the next look at the file shows another token."""


class TokenRefresher:
    """The source that fetches a token with the refresh token, and keeps it while it holds."""

    def __init__(self, grant: Grant, now: Callable[[], float] = time.monotonic) -> None:
        """Raise SettingsError if a token URL would send secrets in the open."""
        if not _is_safe(grant.url):
            raise SettingsError(
                "WINDSOCK_SMTP_OAUTH2_TOKEN_URL: the secrets go there, so it must be https://host/…, or "
                f"http:// to this machine ({', '.join(LOOPBACK)})"
            )
        self._grant = grant
        self._now = now
        self._last = self._before = ""
        self._until = 0.0
        self._lock = asyncio.Lock()

    @property
    def secrets(self) -> tuple[str, ...]:
        """The client's secret, the refresh token, and the last two access tokens."""
        return (self._grant.client_secret, self._grant.refresh_token, self._last, self._before)

    async def token(self) -> str:
        """Return the token, fetched anew if the last one ends soon."""
        async with self._lock:  # several connections may log in at once
            if self._now() >= self._until:
                token, lifetime = await self._fetch()
                self._last, self._before = token, self._last
                self._until = self._now() + lifetime - EARLY
            return self._last

    def invalidate(self) -> None:
        """Have the next token fetched anew."""
        self._until = 0.0

    async def _fetch(self) -> tuple[str, float]:
        form = {
            "grant_type": "refresh_token",
            "client_id": self._grant.client_id,
            "client_secret": self._grant.client_secret,
            "refresh_token": self._grant.refresh_token,
        }
        try:
            status, body = await asyncio.wait_for(self._answer(form), TOKEN_SECONDS)
            answer = loads(body)
            if status == httpx.codes.OK:
                return str(answer["access_token"]), _lifetime(answer)
        except UnreadableBody as error:
            raise Unavailable(
                f"no token from {self._grant.url}: the answer cannot be read: {error}"
            ) from None
        except ANSWERS_NOTHING as error:
            raise Unavailable(f"no token from {self._grant.url}: {type(error).__name__}") from None
        raise Unavailable(f"no token from {self._grant.url}: {status} {self._reason(answer)}")

    def _reason(self, answer: object) -> str:
        """Return the error code of RFC 6749 section 5.2, as `invalid_grant`, and its description.
        Some endpoints repeat the request in it."""
        if not isinstance(answer, dict):
            return ""
        names = ("error", "error_description")
        text = ": ".join(str(answer[name]) for name in names if answer.get(name))
        return clean_reply(text, self.secrets, (self._grant.url,))[:SHOWN]

    async def _answer(self, form: dict[str, str]) -> tuple[int, bytes]:
        async with (
            BoundedClient(timeout=TOKEN_SECONDS, headers=ACCEPT) as client,
            client.stream("POST", self._grant.url, data=form) as response,
        ):
            return response.status_code, await read(response, MAX_ANSWER)


def _is_safe(url: str) -> bool:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return bool(parsed.host) and (
        parsed.scheme == "https" or (parsed.scheme == "http" and parsed.host in LOOPBACK)
    )


def _lifetime(answer: Mapping[str, object]) -> float:
    """Return the seconds. Raise ValueError, TypeError or OverflowError for anything else."""
    seconds = float(str(answer.get("expires_in", LIFETIME)))
    if not math.isfinite(seconds):
        raise ValueError(f"expires_in: {seconds} is no number of seconds")
    return min(seconds, LONGEST)
