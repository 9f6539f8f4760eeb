"""When to try again."""

from collections.abc import Callable
from datetime import datetime, timedelta

FIRST = timedelta(seconds=5)  # the longest first pause: a server that restarts, a dropped connection
LONGEST = timedelta(hours=1)  # greylisting and outages end within hours; more often would be a nuisance
SHORTEST = timedelta(seconds=1)  # jitter may come out near nothing, and a loop must not spin
GIVE_UP_AFTER = timedelta(days=4)  # RFC 5321 4.5.4.1 asks senders for at least 4 to 5 days
PARKED_FOR = timedelta(hours=24)  # Gmail's daily limit counts the last 24 hours

LOOK_FIRST = timedelta(seconds=1)  # a hook reports just before Airflow commits
LOOK_LONGEST = timedelta(seconds=60)

Jitter = Callable[[], float]
"""A random number from 0 up to 1."""


def back_off(attempts: int, jitter: Jitter) -> timedelta:
    """Exponential with full jitter: many mails that failed together do not come back together."""
    ceiling = min(LONGEST, FIRST * (1 << min(attempts, 20)))
    return max(SHORTEST, ceiling * jitter())


def look_again(created_at: datetime, now: datetime) -> datetime:
    """Look again after as long as it has taken so far: soon at first, then each minute."""
    return now + min(max(now - created_at, LOOK_FIRST), LOOK_LONGEST)
