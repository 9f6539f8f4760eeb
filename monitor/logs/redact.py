"""Keeps secrets out of log lines, whoever writes them: a library's exception may quote an address.

Lines are written on the event loop's thread, and anybody may choose what they hold (an address that is asked
for). So what is written is bounded, and every expression takes time in proportion to its text.
"""

import re
from collections.abc import Iterable

HIDDEN = "…"
LEAST_SECRET = 6  # characters; what is shorter is no secret, and may be a word of any line
HEAD, TAIL = 12_000, 4_000  # characters of a long text that are written: a traceback's last lines say most
_ADDRESS = re.compile(r"://[^\s#'\"<>]*")
"""From a scheme's end. It takes what it has looked at, so that no part is looked at twice; a scheme in the
expression would be tried from each of its letters."""
_LOGIN = re.compile(r"://[^\s/@'\"<>]+@")
_CUT_LOGIN = re.compile(r"://[^\s/@'\"<>]+\Z")
_LINK = re.compile(r"(/links/[a-z-]+/)[^\s/?#'\"<>]+")
"""The signed links in mails: who has one may act."""


class Redactor:
    """`secrets`: the values of the settings that nobody may read."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({one for one in secrets if len(one) >= LEAST_SECRET}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None
        self._longest = len(known[0]) if known else 0

    def __call__(self, text: str) -> str:
        if len(text) <= HEAD + TAIL:
            return self._hidden(text)
        # Of a secret that the cut goes through, a part shorter than itself is left at the cut: it goes too.
        part = max(self._longest - 1, 0)
        head = _CUT_LOGIN.sub(f"://{HIDDEN}", self._hidden(text[:HEAD]))
        tail = self._hidden("".join(text[-TAIL:].split(None, 1)[1:]))  # from a word's beginning
        left_out = f" {HIDDEN} [{len(text) - HEAD - TAIL} characters left out] {HIDDEN} "
        return head[: len(head) - part] + left_out + tail[part:]

    def _hidden(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        if "/" not in text:
            return text
        text = _ADDRESS.sub(_without_query, text)
        return _LINK.sub(rf"\1{HIDDEN}", _LOGIN.sub(f"://{HIDDEN}@", text))


def _without_query(found: "re.Match[str]") -> str:
    address, mark, _query = found[0].partition("?")
    return f"{address}?{HIDDEN}" if mark else address
