"""How often a listing may be asked for: so seldom that answers take only a small share of Airflow's time."""

from collections import deque
from datetime import datetime, timedelta

SHARE = 0.01  # of one of the api-server's workers, and of one of its database's
ANSWERS = 3  # one slow answer is a busy moment, or an api-server that has just begun; three are a cost


class Pace:
    """Of one listing. `longest`: it is still asked for so often whatever it costs."""

    def __init__(self, longest: timedelta) -> None:
        self._longest = longest
        self._asked: datetime | None = None
        self._took: deque[timedelta] = deque(maxlen=ANSWERS)

    @property
    def cost(self) -> timedelta:
        """What an answer takes at the least; zero until enough have been seen."""
        return min(self._took) if len(self._took) == ANSWERS else timedelta()

    @property
    def pause(self) -> timedelta:
        """From one question to the next, at the least."""
        return min(self._longest, self.cost / SHARE)

    def is_due(self, now: datetime) -> bool:
        """Whether it may be asked for. A clock that was set back delays nothing."""
        return self._asked is None or not self._asked <= now < self._asked + self.pause

    def took(self, asked: datetime, seconds: float) -> None:
        """An answer to a question of this moment."""
        self._asked = asked
        self._took.append(timedelta(seconds=seconds))
