"""Lengths of time as people read them."""

from datetime import timedelta

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
SHOWN_UNITS = 2  # of one length: `2 d 3 h`, never `2 d 3 h 4 min 5 s`


def spoken(length: timedelta) -> str:
    """Its two largest units: `1 h 30 min`; below a second `0 s`."""
    left = max(0, round(length.total_seconds()))
    parts: list[str] = []
    for unit, seconds in _UNITS:
        number, left = divmod(left, seconds)
        if number:
            parts.append(f"{number} {unit}")
        elif parts:
            break
    return " ".join(parts[:SHOWN_UNITS]) or "0 s"
