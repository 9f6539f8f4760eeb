"""Durations as people write them."""

import re
from datetime import timedelta

_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


def duration(value: object) -> object:
    """`1h30m` as a timedelta; what is no text is left to pydantic. Raises ValueError."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text == "0":
        return timedelta(0)
    parts = _PART.findall(text)
    if not parts or _PART.sub("", text).strip():
        raise ValueError("is no duration such as 30s, 15m, 4h, 1d or 1h30m")
    return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts))
