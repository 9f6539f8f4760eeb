"""Whom to leave alone: a server that takes nothing is not asked again for every mail."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.delivery.retry import Jitter, back_off
from monitor.mailer import SendError, Unavailable

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trouble:
    """One that takes nothing."""

    since: datetime
    error: str
    failures: int
    back_at: datetime
    """Until then it is left alone."""


class Pauses:
    """By whom: `""` where everything goes through one server, else the recipient."""

    def __init__(self, channel: str, jitter: Jitter) -> None:
        self._channel = channel
        self._jitter = jitter
        self._troubles: dict[str, Trouble] = {}

    def now(self, whom: str, now: datetime) -> Trouble | None:
        """The trouble for which it is left alone now."""
        found = self._troubles.get(whom)
        return found if found and now < found.back_at else None

    def note(self, whom: str, error: SendError | None, now: datetime) -> None:
        """What came of asking; the pause grows with each time that it is found away."""
        if not isinstance(error, Unavailable):
            self._troubles.pop(whom, None)
            return
        known = self._troubles.get(whom)
        if known and now < known.back_at:
            return  # several were under way when it went: that is one failure
        failures = known.failures if known else 0
        pause = max(back_off(failures, self._jitter), error.not_before or timedelta(0))
        since = known.since if known else now
        self._troubles[whom] = Trouble(since, str(error), failures + 1, now + pause)
        logger.error(
            "%s %s: nothing can be sent, trying again in %.0f s: %s",
            *(self._channel, whom or "server", pause.total_seconds(), error),
        )
