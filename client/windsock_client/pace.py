"""The pause before the next request for the feed."""

from __future__ import annotations

import random
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

FIRST_WAIT = 1.0  # seconds, until the monitor's `retry:` says otherwise. The wait doubles from there
SHORTEST_WAIT = 0.1  # seconds: `retry: 0` would make a busy loop of an outage
LONGEST_WAIT = 30.0  # seconds: the longest delay until a monitor that is back is noticed
LONGEST_ASKED = 300.0  # seconds: Retry-After gets no longer pause
JITTER = 0.5  # of the wait, on top of it, so that many readers do not come back together
DOUBLINGS = 16  # more would overflow, and the bound is reached long before


class Pace:
    """The wait between attempts. It doubles with each attempt that brings nothing, with jitter."""

    def __init__(self) -> None:
        self._first = FIRST_WAIT
        self._failures = 0

    def retry(self, seconds: float) -> None:
        """Set the first wait to what the monitor asked for with `retry:`."""
        self._first = min(max(seconds, SHORTEST_WAIT), LONGEST_WAIT)

    def reset(self) -> None:
        """Forget the failures, because the feed brought something.
        The next interruption counts as the first."""
        self._failures = 0

    def wait(self, at_least: float = 0.0) -> float:
        """Return the seconds before the next attempt, and count the one that has just ended."""
        wait = min(LONGEST_WAIT, self._first * 2.0 ** min(self._failures, DOUBLINGS))
        self._failures += 1
        spread = random.uniform(1, 1 + JITTER)  # noqa: S311 (spreads load, keeps no secret)
        return max(wait, min(at_least, LONGEST_ASKED)) * spread


def retry_after(header: str | None, now: datetime | None = None) -> float:
    """Return the seconds that a Retry-After asks for, or 0 if it says nothing.
    RFC 9110, 10.2.3, allows a number or a date."""
    if header is None:
        return 0.0
    if header.isascii() and header.strip().isdigit():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max((moment - (now or datetime.now(timezone.utc))).total_seconds(), 0.0)
