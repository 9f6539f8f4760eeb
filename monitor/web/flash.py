"""What one page says once after a form was sent: it comes with a cookie, and goes with it when it is shown.

So the answer to a form is a redirect, and to load the page that follows again sends nothing again. In no
address: those are kept by browsers, proxies and logs. Signed, so that nobody else's words are shown for ours.
"""

import hashlib
import secrets
from collections.abc import Sequence

from fastapi import Request
from fastapi.responses import Response
from itsdangerous import BadSignature, TimestampSigner
from pydantic import SecretStr

from monitor.web.prefix import at

COOKIE = "windsock_flash"
SECONDS = 60  # a redirect is followed at once


class Flash:
    """`keys`: as of sessions. Where there is none, one is made for this process."""

    def __init__(self, keys: Sequence[SecretStr], secure: bool) -> None:
        given = [key.get_secret_value() for key in keys] or [secrets.token_urlsafe()]
        self._signer = TimestampSigner(given[::-1], salt="windsock-flash", digest_method=hashlib.sha256)
        self._secure = secure

    def say(self, request: Request, answer: Response, path: str, text: str) -> None:
        """Have the page at this path show the text once."""
        answer.set_cookie(
            *(COOKIE, self._signer.sign(text).decode(), SECONDS),
            path=at(request) + path,
            secure=self._secure,
            httponly=True,
            samesite="strict",
        )

    def said(self, request: Request) -> str | None:
        """What the page is to show; None: nothing, or nothing of ours."""
        try:
            return self._signer.unsign(request.cookies.get(COOKIE, ""), max_age=SECONDS).decode()
        except (BadSignature, UnicodeError):
            return None

    def forget(self, request: Request, answer: Response, path: str) -> None:
        """It was shown."""
        answer.delete_cookie(COOKIE, path=at(request) + path)
