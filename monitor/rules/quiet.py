"""Quiet hours, by the clocks on people's walls."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta, timezone, tzinfo

from monitor.rules.model import QuietHours, Weekday
from monitor.rules.zones import zone

MAX_CHAIN = timedelta(days=8)
"""Quiet hours that follow on each other for longer never end: each has begun once more by then."""

_WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class NeverEnds(ValueError):
    """One quiet hour follows on the other, for ever."""


def quiet_until(hours: Iterable[QuietHours], default_zone: str, now: datetime) -> datetime | None:
    """When all is over that holds at `now`; None: nothing holds. Raises NeverEnds.

    Where other quiet hours hold at that end (a weekend behind a night) it is theirs.
    """
    every = [(one, zone(one.timezone or default_zone)) for one in hours]
    end = now
    while later := [until for one, place in every if (until := _end(one, place, end))]:
        end = max(later)
        if end - now > MAX_CHAIN:
            raise NeverEnds
    return end if end > now else None


def _end(hours: QuietHours, place: tzinfo, now: datetime) -> datetime | None:
    """The end of the one that holds at `now`: it began today or yesterday."""
    today = now.astimezone(place).date()
    for day in (today, today - timedelta(days=1)):
        if _WEEKDAYS[day.weekday()] in hours.days:
            start, end = _window(hours, place, day)
            if start <= now < end:
                return end
    return None


def _window(hours: QuietHours, place: tzinfo, day: date) -> tuple[datetime, datetime]:
    """In UTC: sums and comparisons of times in one zone leave out what its clocks leave out."""
    last = day if hours.end > hours.start else day + timedelta(days=1)
    start = datetime.combine(day, hours.start, place)
    end = datetime.combine(last, hours.end, place)
    # fold: which of two, where clocks go back. A time that they leave out is later with the first.
    both = (end.replace(fold=fold).astimezone(timezone.utc) for fold in (0, 1))
    return start.astimezone(timezone.utc), max(both)
