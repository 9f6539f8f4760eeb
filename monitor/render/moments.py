"""Moments as their reader's clock on the wall shows them, with the zone named, and as machines copy them."""

from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from monitor.render.present import of_present
from monitor.render.story import Value
from monitor.render.words import span

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""Not strftime's: those follow the machine's language."""
UNKNOWN = "–"


def zone_of(name: str) -> tzinfo:
    """UTC where this machine has no such zone: a mail is worth more than its hours."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return timezone.utc


def when(moment: datetime | None, zone: tzinfo = timezone.utc) -> str:
    """25 Nov 2026, 08:12:30 CET"""
    if moment is None:
        return UNKNOWN
    local = _local(moment, zone)
    day = f"{local.day} {MONTHS[local.month - 1]} {local.year}"
    return f"{day}, {local:%H:%M:%S} {_zone_name(local)}"


def short(moment: datetime | None, zone: tzinfo = timezone.utc) -> str:
    """25 Nov 08:12:30, for tables whose zone is named beside them."""
    if moment is None:
        return UNKNOWN
    local = _local(moment, zone)
    return f"{local.day} {MONTHS[local.month - 1]} {local:%H:%M:%S}"


def iso(moment: datetime | None) -> str:
    """2026-11-25T07:12:30Z, for copying into machines."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else UNKNOWN


def told(value: Value | None, zone: tzinfo = timezone.utc) -> str:
    """Any value of a fact."""
    if value is None:
        return UNKNOWN
    if isinstance(value, datetime):
        return when(value, zone)
    return span(value) if isinstance(value, timedelta) else value


def _local(moment: datetime, zone: tzinfo) -> datetime:
    try:
        return moment.astimezone(zone)
    except (OverflowError, ValueError):  # at the calendar's ends
        return moment.astimezone(timezone.utc)


def _zone_name(local: datetime) -> str:
    """Many zones have no letters of their own: their name is then an offset."""
    name = local.tzname() or ""
    return f"UTC{name}" if name.startswith(("+", "-")) else name


def _when(moment: datetime | None) -> str:
    return _kept(when(moment, of_present("zone")))


def _short(moment: datetime | None) -> str:
    return _kept(short(moment, of_present("zone")))


def _told(value: Value | None) -> str:
    shown = told(value, of_present("zone"))
    return shown if value is None or isinstance(value, str) else _kept(shown)


def _kept(text: str) -> str:
    """With spaces at which no line breaks, but for the one behind a comma."""
    return text.replace(" ", "\N{NO-BREAK SPACE}").replace(",\N{NO-BREAK SPACE}", ", ")


FILTERS: dict[str, Any] = {"when": _when, "short": _short, "value": _told, "iso": iso}
"""The templates' own, which know the letter's zone."""
