"""Quiet hours around midnight, weekends, and the nights in which clocks are moved."""

from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.rules.model import Config, QuietHours, Rule
from monitor.rules.ruleset import NeverEnds, Rules, quiet_until

ZURICH, NEW_YORK = "Europe/Zurich", "America/New_York"
NIGHT = {"start": "22:00", "end": "07:00"}
LUNCH = {"start": "12:00", "end": "13:00"}
EARLY = {"start": "02:30", "end": "06:00"}
UNTIL_EARLY = {"start": "23:00", "end": "02:30"}
WEEKEND = {"start": "00:00", "end": "00:00", "days": ["sat", "sun"]}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def until(now: str, zone: str, *hours: dict[str, Any]) -> datetime | None:
    return quiet_until([QuietHours.model_validate(one) for one in hours], zone, utc(now))


@pytest.mark.parametrize(
    ("hours", "zone", "now", "end"),
    [
        # An ordinary night, from both sides of midnight; the start is in it, the end is not.
        (NIGHT, "UTC", "2026-06-10 21:59:59", None),
        (NIGHT, "UTC", "2026-06-10 22:00", "2026-06-11 07:00"),
        (NIGHT, "UTC", "2026-06-11 00:00", "2026-06-11 07:00"),
        (NIGHT, "UTC", "2026-06-11 06:59:59", "2026-06-11 07:00"),
        (NIGHT, "UTC", "2026-06-11 07:00", None),
        (LUNCH, "UTC", "2026-06-11 12:30", "2026-06-11 13:00"),
        (LUNCH, "UTC", "2026-06-11 13:30", None),
        # The same by other walls' clocks; its own zone goes before the file's.
        (NIGHT, ZURICH, "2026-06-10 20:00", "2026-06-11 05:00"),
        (NIGHT, ZURICH, "2026-01-10 20:00", None),
        (NIGHT, NEW_YORK, "2026-06-11 03:00", "2026-06-11 11:00"),
        ({**NIGHT, "timezone": NEW_YORK}, ZURICH, "2026-06-11 03:00", "2026-06-11 11:00"),
        (NIGHT, "Asia/Kathmandu", "2026-06-10 16:15", "2026-06-11 01:15"),
        # Days are those on which they begin: Friday's night is Saturday morning's.
        ({**NIGHT, "days": "fri"}, "UTC", "2026-06-12 23:00", "2026-06-13 07:00"),
        ({**NIGHT, "days": "fri"}, "UTC", "2026-06-13 06:00", "2026-06-13 07:00"),
        ({**NIGHT, "days": "fri"}, "UTC", "2026-06-13 23:00", None),
        ({**NIGHT, "days": "fri"}, "UTC", "2026-06-12 06:00", None),
        # Two whole days follow on each other.
        (WEEKEND, "UTC", "2026-06-12 23:59", None),
        (WEEKEND, "UTC", "2026-06-13 00:00", "2026-06-15 00:00"),
        (WEEKEND, "UTC", "2026-06-14 12:00", "2026-06-15 00:00"),
        # Zurich, 29 March 2026: 02:00 becomes 03:00. The night is an hour shorter.
        (NIGHT, ZURICH, "2026-03-28 21:00", "2026-03-29 05:00"),
        (NIGHT, ZURICH, "2026-03-29 04:59", "2026-03-29 05:00"),
        # 02:30 does not occur: it is 03:30 in summer time, which is 01:30 UTC.
        (EARLY, ZURICH, "2026-03-29 01:29", None),
        (EARLY, ZURICH, "2026-03-29 01:30", "2026-03-29 04:00"),
        (UNTIL_EARLY, ZURICH, "2026-03-29 01:29", "2026-03-29 01:30"),
        ({"start": "02:10", "end": "02:50"}, ZURICH, "2026-03-29 01:20", "2026-03-29 01:50"),
        # Nothing is left of what ends before it begins.
        ({"start": "02:30", "end": "03:00"}, ZURICH, "2026-03-29 01:10", None),
        ({"start": "02:30", "end": "03:00"}, ZURICH, "2026-03-29 01:30", None),
        # Zurich, 25 October 2026: 03:00 becomes 02:00. The night is an hour longer.
        (NIGHT, ZURICH, "2026-10-24 20:00", "2026-10-25 06:00"),
        (NIGHT, ZURICH, "2026-10-25 05:59", "2026-10-25 06:00"),
        # 02:30 occurs twice, at 00:30 and 01:30 UTC: the first begins, the second ends.
        (EARLY, ZURICH, "2026-10-25 00:29", None),
        (EARLY, ZURICH, "2026-10-25 00:30", "2026-10-25 05:00"),
        (UNTIL_EARLY, ZURICH, "2026-10-25 01:29", "2026-10-25 01:30"),
        (UNTIL_EARLY, ZURICH, "2026-10-25 01:30", None),
        ({"start": "02:15", "end": "02:45"}, ZURICH, "2026-10-25 01:00", "2026-10-25 01:45"),
        # New York, 8 March and 1 November 2026, at 2 o'clock too.
        (NIGHT, NEW_YORK, "2026-03-08 03:00", "2026-03-08 11:00"),
        (EARLY, NEW_YORK, "2026-03-08 07:29", None),
        (EARLY, NEW_YORK, "2026-03-08 07:30", "2026-03-08 10:00"),
        (NIGHT, NEW_YORK, "2026-11-01 02:00", "2026-11-01 12:00"),
        ({"start": "01:30", "end": "06:00"}, NEW_YORK, "2026-11-01 05:30", "2026-11-01 11:00"),
        ({"start": "22:00", "end": "01:30"}, NEW_YORK, "2026-11-01 06:29", "2026-11-01 06:30"),
        # A clock that moves at midnight itself: Santiago, 6 September 2026, has no 00:00.
        (WEEKEND, "America/Santiago", "2026-09-06 12:00", "2026-09-07 03:00"),
    ],
)
def test_when_it_is_over(hours: dict[str, Any], zone: str, now: str, end: str | None) -> None:
    assert until(now, zone, hours) == (utc(end) if end else None)


def test_a_night_that_runs_into_a_weekend_lasts_until_its_end() -> None:
    assert until("2026-06-12 23:00", "UTC", NIGHT, WEEKEND) == utc("2026-06-15 07:00")
    assert until("2026-06-10 23:00", "UTC", NIGHT, WEEKEND) == utc("2026-06-11 07:00")
    assert until("2026-06-10 12:00", "UTC", NIGHT, WEEKEND) is None


def test_hours_that_touch_are_one() -> None:
    other = {"start": "07:00", "end": "08:00"}
    assert until("2026-06-10 23:00", "UTC", NIGHT, other) == utc("2026-06-11 08:00")


def test_hours_without_an_end_are_not_waited_for() -> None:
    with pytest.raises(NeverEnds):
        until("2026-06-10 12:00", "UTC", {"start": "09:00", "end": "09:00"})


def test_a_rule_keeps_the_hours_that_it_names() -> None:
    hours = {"nights": QuietHours.model_validate(NIGHT), "lunch": QuietHours.model_validate(LUNCH)}
    rules = Rules(Config(timezone=ZURICH, quiet_hours=hours))
    keeps, keeps_none = Rule(name="a", quiet_hours=("nights",)), Rule(name="b")
    assert rules.quiet_until(keeps, utc("2026-06-10 20:00")) == utc("2026-06-11 05:00")
    assert rules.quiet_until(keeps, utc("2026-06-10 10:30")) is None
    assert rules.quiet_until(keeps_none, utc("2026-06-10 20:00")) is None


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(timezone.utc)),  # noqa: DTZ001
    st.times(),
    st.times(),
    st.sets(st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), min_size=1, max_size=6),
    st.sampled_from([ZURICH, NEW_YORK, "UTC", "Australia/Lord_Howe", "America/Santiago"]),
)
def test_an_end_is_after_now_and_truly_an_end(
    now: datetime, start: Any, end: Any, days: set[Any], zone: str
) -> None:
    hours = [QuietHours(start=start, end=end, days=tuple(days))]
    over = quiet_until(hours, zone, now)
    if over is not None:
        assert over > now
        assert quiet_until(hours, zone, over) is None
