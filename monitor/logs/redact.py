"""Keeps secrets out of log lines, whoever writes them: a library's exception may quote an address."""

import re
from collections.abc import Iterable

HIDDEN = "…"
LEAST_SECRET = 6  # characters; what is shorter is no secret, and may be a word of any line
_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s?#'\"<>]*)\?[^\s#'\"<>]*", re.IGNORECASE)
_LOGIN = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@'\"<>]+@", re.IGNORECASE)
_LINK = re.compile(r"(/links/[a-z-]+/)[^\s/?#'\"<>]+")
"""The signed links in mails: who has one may act."""


class Redactor:
    """`secrets`: the values of the settings that nobody may read."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({one for one in secrets if len(one) >= LEAST_SECRET}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        if "/" not in text:
            return text
        text = _QUERY.sub(rf"\1?{HIDDEN}", text)
        return _LINK.sub(rf"\1{HIDDEN}", _LOGIN.sub(rf"\1{HIDDEN}@", text))
