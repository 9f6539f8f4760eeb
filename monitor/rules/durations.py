"""Durations as people write them."""

import re
from datetime import timedelta

LONGEST = timedelta(days=366)
"""A year and a day: longer is a slip of the pen, and far longer no date can carry."""
MAX_LENGTH = 100  # characters: seven units with their numbers, and blanks between them
_ONE = r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(ms|min|s|m|h|d|w)"
PATTERN = rf"0|{_ONE}(\s*{_ONE})*"

_PART = re.compile(_ONE)
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_WRITTEN = ("d", "h", "m", "s")
_EXAMPLES = "such as 30s, 15m, 4h, 1d or 1h30m"


def duration(value: object) -> object:
    """`1h30m` as a timedelta; what is no text and no number is left to pydantic. Raises ValueError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value != 0:
        raise ValueError(f"has no unit; write a duration {_EXAMPLES}")
    if not isinstance(value, str):
        return value
    if len(value) > MAX_LENGTH or not re.fullmatch(PATTERN, value.strip()):
        raise ValueError(f"is no duration {_EXAMPLES}")
    try:
        total = sum((float(number) * _UNITS[unit] for number, unit in _PART.findall(value)), timedelta(0))
    except OverflowError:
        total = timedelta.max
    if total > LONGEST:
        raise ValueError(f"is longer than a year; write a duration {_EXAMPLES}")
    return total


def a_minute_at_least(value: timedelta) -> timedelta:
    """What is done again and again is not done in a hurry. Raises ValueError."""
    if value < timedelta(minutes=1):
        raise ValueError("is too short; write 1m or longer")
    return value


def written(value: timedelta) -> str:
    """`1h30m`: the shortest text that `duration` reads as this."""
    parts, left = [], value
    for unit in _WRITTEN:
        count, left = divmod(left, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    if left:
        parts.append(f"{left / _UNITS['ms']:.3f}".rstrip("0").rstrip(".") + "ms")
    return "".join(parts) or "0"
