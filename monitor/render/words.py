"""Values as people read them, and texts as mail programs and terminals can bear them."""

import re
from datetime import timedelta

from markupsafe import Markup

from monitor.plain_text import line

SPACES = re.compile(r"\s+")


def finalize(value: object) -> object:
    """A page's last look at each value: text is one safe line, and None is nothing."""
    if value is None:
        return ""
    return line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def shortened(text: str, limit: int) -> str:
    """Return the text as one line, cleaned before it is cut: half a control sequence is none any more."""
    text = line(text)
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def header(text: str, limit: int) -> str:
    """The text as a header's value: one line, single spaces, bounded."""
    return shortened(SPACES.sub(" ", line(text)).strip(), limit)


def span(duration: timedelta | None) -> str:
    """6.5 s · 2 min 5 s · 1 h 3 min · 2 d 4 h"""
    if duration is None:
        return "–"
    seconds = max(duration.total_seconds(), 0.0)
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def counted(number: int, one: str, many: str | None = None) -> str:
    """1 failure · 3 failures"""
    return f"{number} {one if number == 1 else many or one + 's'}"


def nth(number: int) -> str:
    """1st · 2nd · 3rd · 11th"""
    teen = 10 <= number % 100 <= 20
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
