"""Durations and times of day as people write them."""

from datetime import time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.rules.field_types import LONGEST, clock_time, duration, format_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("30s", 30),
        ("15m", 900),
        ("5min", 300),
        ("4h", 14_400),
        ("1d", 86_400),
        ("2w", 1_209_600),
        ("1h30m", 5400),
        (" 1h 30m ", 5400),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("1m1m", 120),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "5",
        "5 minuts",
        "-5m",
        "m",
        "1h30",
        "1..5h",
        "1h;",
        "PT5M",
        "1e3s",
        "400d",
        "9" * 9 + "w",
        "٣s",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration(text)


@pytest.mark.parametrize("number", [30, 1.5, -1])
def test_a_number_has_no_unit(number: float) -> None:
    with pytest.raises(ValueError, match="has no unit"):
        duration(number)


def test_zero_needs_no_unit() -> None:
    assert duration(0) == 0


@given(st.timedeltas(min_value=timedelta(0), max_value=LONGEST))
def test_what_is_written_is_read_as_the_same(value: timedelta) -> None:
    assert duration(format_duration(value)) == value


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_a_reason(text: str) -> None:
    try:
        found = duration(text)
    except ValueError:
        return
    assert isinstance(found, timedelta)
    assert timedelta(0) <= found <= LONGEST


def test_times_of_day() -> None:
    assert clock_time("22:00") == time(22)
    assert clock_time("7:05") == time(7, 5)
    assert clock_time("07:05:30") == time(7, 5, 30)


@pytest.mark.parametrize("text", ["24:00", "7", "7:5", "07:60", "22:00Z", "22:00+01:00", 1320, None, True])
def test_what_is_no_time_of_day_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is no time of day"):
        clock_time(text)
