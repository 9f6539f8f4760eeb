"""No part of a target's URL gets out: Apprise URLs and webhook addresses hold tokens anywhere."""

import logging
import re
from urllib.parse import unquote

from monitor.mailer.replies import plain

SHORTEST = 4  # characters of a part that may be a secret: shorter ones are words of every text
HIDDEN = "[…]"
NOISY = ("apprise", "urllib3", "httpx", "httpcore", "requests")
"""Loggers whose lines hold addresses and payloads."""
_PARTS = re.compile(r"[/?&=@:#,;+\s]+")


def without_url(text: str, url: str) -> str:
    """The text as one bounded line, without the URL and without any part of it behind its scheme."""
    behind = url.partition("://")[2]
    parts = {form for part in _PARTS.split(behind) for form in (part, unquote(part)) if len(form) >= SHORTEST}
    for part in (url, behind, *sorted(parts, key=len, reverse=True)):
        if part:
            text = text.replace(part, HIDDEN)
    return plain(text)


def keep_quiet() -> None:
    """Let libraries say nothing below a warning: httpx logs each address that it asks."""
    for name in NOISY:
        library = logging.getLogger(name)
        library.setLevel(max(logging.WARNING, library.level))
