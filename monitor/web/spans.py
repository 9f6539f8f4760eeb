"""For how long people silence: a few usual spans, or until a moment of their own."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

TOMORROW, OWN = "tomorrow", "own"
MORNING = time(8)  # when people are at work again
SPANS = {"1h": ("1 hour", timedelta(hours=1)), "8h": ("8 hours", timedelta(hours=8))}
LONG_SPANS = {"1w": ("1 week", timedelta(weeks=1))}


@dataclass(frozen=True)
class Choice:
    """One of the ends that a form offers."""

    value: str
    words: str
    ends_at: datetime


def choices(now: datetime, zone: str) -> list[Choice]:
    """What a form offers, its ends in UTC."""
    morning = tomorrow_morning(now, zone)
    there = morning.astimezone(ZoneInfo(zone))
    tomorrow = Choice(TOMORROW, f"until tomorrow, {there:%A} {there:%H:%M} ({zone})", morning)
    return [
        *(Choice(name, words, now + span) for name, (words, span) in SPANS.items()),
        tomorrow,
        *(Choice(name, words, now + span) for name, (words, span) in LONG_SPANS.items()),
    ]


def tomorrow_morning(now: datetime, zone: str) -> datetime:
    day = now.astimezone(ZoneInfo(zone)).date() + timedelta(days=1)
    return datetime.combine(day, MORNING, ZoneInfo(zone)).astimezone(timezone.utc)


def end_of(choice: str, own: str, now: datetime, zone: str) -> datetime:
    """The moment that was chosen, in UTC. Raises ValueError, whose message is for people."""
    if choice == OWN:
        return _own(own, zone)
    for offered in choices(now, zone):
        if offered.value == choice:
            return offered.ends_at
    raise ValueError(f"until: {choice[:20]!r} is none of the choices; choose one of them")


def _own(given: str, zone: str) -> datetime:
    """What a field of type datetime-local sends: a moment by the clock on the wall."""
    if not given:
        raise ValueError("another end: is empty; give a day and a time, or choose another end")
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise ValueError(f"another end: {given[:30]!r} is no moment such as 2026-11-23T08:00") from None
    there = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))
    try:
        return there.astimezone(timezone.utc)
    except OverflowError:
        raise ValueError(f"another end: {given[:30]!r} is beyond every calendar") from None
