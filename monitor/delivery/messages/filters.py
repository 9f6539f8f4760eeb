"""The template filters for text, moments, tables and values.

`fit` folds plain text to the width of a terminal, whatever the text holds. Templates write one line for each
thought, and `fit` folds that line under itself. The fold starts behind the indent, behind the mark of a
quoted log, or behind the label. Addresses and `File "…", line N` stay whole, so that people can click and
copy them."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, TypeVar, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jinja2 import TemplateRuntimeError, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from monitor.delivery.messages.model import Value
from monitor.plain_text import line

SPACES = re.compile(r"\s+")


def finalize(value: object) -> object:
    """Return a value as the template puts it out: text is one safe line, and None is nothing."""
    if value is None:
        return ""
    return line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def shorten(text: str, limit: int) -> str:
    """Return the text as one line, cleaned before it is cut: half a control sequence is none any more."""
    text = line(text)
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def header(text: str, limit: int) -> str:
    """Return the text as a header's value: one line, single spaces, bounded."""
    return shorten(SPACES.sub(" ", line(text)).strip(), limit)


def span(duration: timedelta | None) -> str:
    """Return a duration: 6.5 s · 2 min 5 s · 1 h 3 min · 2 d 4 h."""
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


def pluralize(number: int, singular: str, many: str | None = None) -> str:
    """Return a number with its noun: 1 failure · 3 failures."""
    return f"{number} {singular if number == 1 else many or singular + 's'}"


def nth(number: int) -> str:
    """Return an ordinal number: 1st · 2nd · 3rd · 11th."""
    teen = 10 <= number % 100 <= 20
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


WIDTH = 78  # RFC 5322 section 2.1.1 asks for it
MAX_HANG = 24  # columns. Text beside a wider label would be a narrow column

_HANG = re.compile(r"\s*(?:\| *|[✗✓·•-] +)?(?:\S+(?: \S+)?  +)?")
_ONE_EACH = re.compile("[\x00-\u02ff\u2010-\u2027\u2190-\u21ff\u2580-\u259f\u2713\u2717]*")
"""ASCII, Latin, and what the templates draw with."""
_WORDS = re.compile(r'(?:File "[^"]+", line \d+|\S)\S*\s*')
"""A traceback's `File "…", line N` is one word: editors and terminals open it by a click."""
_FRAME = 'File "'


def fit(text: str, width: int = WIDTH) -> str:
    """Fold every line of the text to the width, except for addresses that are longer."""
    return "\n".join(part for line in text.split("\n") for part in _fold(line, width))


def columns(text: str) -> int:
    """Return the columns that a terminal needs: two for a wide sign, none for a combining one."""
    if _ONE_EACH.fullmatch(text):  # nearly every line
        return len(text)
    return sum(_columns(sign) for sign in text)


def _columns(sign: str) -> int:
    if unicodedata.combining(sign) or unicodedata.category(sign) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def _fold(line: str, width: int) -> Iterator[str]:
    if columns(line) <= width:
        yield line
        return
    hang = _hang_of(line)
    margin = columns(hang)
    now, taken = "", 0
    for word in _words(line, width - margin):
        bare = word.rstrip()
        size = columns(bare)
        # Where nothing but the margin stands before it, a new line would gain nothing.
        if taken > margin and taken + size > width:
            yield now.rstrip()
            now, taken = hang, margin
        now += word
        taken += size + columns(word[len(bare) :])
    yield now.rstrip()


def _hang_of(line: str) -> str:
    """Return the beginning of the following lines."""
    match = _HANG.match(line)
    lead = match[0] if match else ""
    if columns(lead) > MAX_HANG:
        lead = lead[: len(lead) - len(lead.lstrip())][:MAX_HANG]
    return "".join(sign if sign == "|" else " " for sign in lead)


def _words(line: str, room: int) -> Iterator[str]:
    """Yield the line in pieces that may stand on lines of their own."""
    indent = line[: len(line) - len(line.lstrip())]
    if indent:
        yield indent
    for match in _WORDS.finditer(line, len(indent)):
        word = match[0]
        if "://" in word or word.startswith(_FRAME) or columns(word.rstrip()) <= room:
            yield word
            continue
        yield from _chop(word, room)


def _chop(word: str, room: int) -> Iterator[str]:
    piece, taken = "", 0
    for sign in word:
        size = _columns(sign)
        if taken + size > room and not sign.isspace():
            yield piece
            piece, taken = "", 0
        piece += sign
        taken += size
    yield piece


T = TypeVar("T")


def clean_record(value: T) -> T:
    """Return the same record, with its texts and those of inner records made safe to show."""
    if isinstance(value, str):
        return cast(T, line(value))
    if isinstance(value, tuple):
        return cast(T, tuple(clean_record(item) for item in value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{field.name: clean_record(getattr(value, field.name)) for field in fields(value)}
        )
    return value


BAD, GOOD, NEITHER = "✗", "✓", "·"

_BAD = (
    ".failed",
    ".import_error",
    ".late",
    ".missing",
    ".stuck",
    ".stale",
    ".unconsumed",
    ".auto_paused",
    ".unreachable",
    ".unhealthy",
    ".failing",
    ".dead",
    ".parked",
)
_GOOD = (".success", ".recovered", ".import_error_mended")


def mark_of(event_type: str) -> str:
    """Return the mark of an event's type: good, bad or neither."""
    if event_type.endswith(_BAD):
        return BAD
    return GOOD if event_type.endswith(_GOOD) else NEITHER


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""Not strftime's: those follow the machine's language."""
UNKNOWN = "–"


def zone_of(name: str) -> tzinfo:
    """Return the time zone, or UTC if this machine lacks it: a mail is worth more than its hours."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return timezone.utc


def when(moment: datetime | None, zone: tzinfo = timezone.utc) -> str:
    """Return a moment: 25 Nov 2026, 08:12:30 CET."""
    if moment is None:
        return UNKNOWN
    local = local_time(moment, zone)
    day = f"{local.day} {MONTHS[local.month - 1]} {local.year}"
    return f"{day}, {local:%H:%M:%S} {zone_name(local)}"


def short(moment: datetime | None, zone: tzinfo = timezone.utc) -> str:
    """Return a moment for tables whose zone is named: 25 Nov 08:12:30."""
    if moment is None:
        return UNKNOWN
    local = local_time(moment, zone)
    return f"{local.day} {MONTHS[local.month - 1]} {local:%H:%M:%S}"


def iso(moment: datetime | None) -> str:
    """Return a moment for copying into machines: 2026-11-25T07:12:30Z."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else UNKNOWN


def format_value(value: Value | None, zone: tzinfo = timezone.utc) -> str:
    """Return any value of a fact as text."""
    if value is None:
        return UNKNOWN
    if isinstance(value, datetime):
        return when(value, zone)
    return span(value) if isinstance(value, timedelta) else value


def local_time(moment: datetime, zone: tzinfo) -> datetime:
    """Return the moment in the zone, or in UTC at the calendar's ends."""
    try:
        return moment.astimezone(zone)
    except (OverflowError, ValueError):  # at the calendar's ends
        return moment.astimezone(timezone.utc)


def zone_name(local: datetime) -> str:
    """Return the zone's letters. Many zones have none, and their name is then an offset."""
    name = local.tzname() or ""
    return f"UTC{name}" if name.startswith(("+", "-")) else name


def _zone(context: Context) -> tzinfo:
    if "zone" not in context:
        raise TemplateRuntimeError("the reader's time zone is unknown in it; import the file `with context`")
    zone: tzinfo = context["zone"]
    return zone


@pass_context
def _when(context: Context, moment: datetime | None) -> str:
    return _keep_together(when(moment, _zone(context)))


@pass_context
def _short(context: Context, moment: datetime | None) -> str:
    return _keep_together(short(moment, _zone(context)))


@pass_context
def _format_value(context: Context, value: Value | None) -> str:
    text = format_value(value, _zone(context))
    return text if value is None or isinstance(value, str) else _keep_together(text)


def _keep_together(text: str) -> str:
    """Return the text with no-break spaces, but for the one behind a comma."""
    return text.replace(" ", "\N{NO-BREAK SPACE}").replace(",\N{NO-BREAK SPACE}", ", ")


FILTERS: dict[str, Any] = {"when": _when, "short": _short, "value": _format_value, "iso": iso}
"""The templates' own filters, which know the recipient's time zone."""
