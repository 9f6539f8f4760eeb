"""How often a listing may be asked for: so seldom that answers take only a small share of Airflow's time."""

from datetime import datetime, timedelta

SHARE = 0.01  # of one of the api-server's workers, and of one of its database's
LONGEST = timedelta(hours=1)
"""What is still asked for so often whatever it costs: then a hand-set state of an old run waits no longer."""


class Pace:
    """Of one listing."""

    def __init__(self) -> None:
        self._asked: datetime | None = None
        self.cost = timedelta()
        """What the last answer took."""

    @property
    def pause(self) -> timedelta:
        """From one question to the next, at the least."""
        return min(LONGEST, self.cost / SHARE)

    def is_due(self, now: datetime) -> bool:
        """Whether it may be asked for. A clock that was set back delays nothing."""
        return self._asked is None or not self._asked <= now < self._asked + self.pause

    def took(self, asked: datetime, seconds: float) -> None:
        self._asked = asked
        self.cost = timedelta(seconds=seconds)
