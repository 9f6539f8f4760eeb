"""A brake on guessing passwords and tokens."""

import math
from collections import OrderedDict
from datetime import datetime

from monitor.clock import Clock

FAILURES = 10  # for one name (a user, or an address) in a window; then it has to wait
WINDOW_SECONDS = 300
MAX_NAMES = 10_000  # that are counted; the oldest are forgotten, so memory stays bounded


class Throttle:
    """Counts failures by name, in windows that begin with the first failure."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, tuple[datetime, int]] = OrderedDict()

    def wait(self, *names: str) -> int:
        """Seconds until these names may try again; 0: now."""
        return max(self._left(name) for name in names)

    def fail(self, *names: str) -> None:
        for name in names:
            began, count = self._failures.get(name, (self._clock(), 0))
            if self._age(began) >= WINDOW_SECONDS:
                began, count = self._clock(), 0
            self._failures[name] = (began, count + 1)
        while len(self._failures) > MAX_NAMES:
            self._failures.popitem(last=False)

    def _left(self, name: str) -> int:
        began, count = self._failures.get(name, (self._clock(), 0))
        left = WINDOW_SECONDS - self._age(began)
        return math.ceil(left) if count >= FAILURES and left > 0 else 0

    def _age(self, moment: datetime) -> float:
        return (self._clock() - moment).total_seconds()
