"""How often a listing may be asked for: so seldom that answers take only a small share of Airflow's time."""

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

ANSWERS = 3  # one slow answer is a busy moment, or an api-server that has just begun; three are a cost


@dataclass(frozen=True)
class Allowance:
    """What a listing may take."""

    share: float
    """Of the time of one of the api-server's workers, and of one of its database's."""
    longest: timedelta
    """It is still asked for so often, whatever it costs."""


FRESH = Allowance(0.1, timedelta(minutes=1))
"""For what happens just now: somebody waits for it."""
OLD = Allowance(0.01, timedelta(hours=1))
"""For what hardly ever happens: a state set by hand in an old run waits no longer than this."""


class Pace:
    """Of one listing."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._asked: datetime | None = None
        self._took: deque[timedelta] = deque(maxlen=ANSWERS)

    @property
    def cost(self) -> timedelta:
        """What an answer takes at the least; zero until enough have been seen."""
        return min(self._took) if len(self._took) == ANSWERS else timedelta()

    @property
    def pause(self) -> timedelta:
        """From one question to the next, at the least."""
        return min(self._allowance.longest, self.cost / self._allowance.share)

    def is_due(self, now: datetime) -> bool:
        """Whether it may be asked for. A clock that was set back delays nothing."""
        return self._asked is None or not self._asked <= now < self._asked + self.pause

    def took(self, asked: datetime, seconds: float) -> None:
        """An answer to a question of this moment."""
        self._asked = asked
        self._took.append(timedelta(seconds=seconds))
