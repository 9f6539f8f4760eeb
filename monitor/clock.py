"""The clock that is handed in, so that tests of waits, back-off and leases never sleep."""

from collections.abc import Callable
from datetime import datetime, timezone

Clock = Callable[[], datetime]
"""Answers the present moment, in UTC, with its zone."""


def utc_now() -> datetime:
    """Return the present in UTC."""
    return datetime.now(timezone.utc)
