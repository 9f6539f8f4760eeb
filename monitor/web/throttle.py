"""A brake on guessing passwords and tokens, which holds at every monitor on the same database."""

from collections.abc import Iterable, Mapping

from monitor import failed_attempts
from monitor.clock import Clock
from monitor.database import Database
from monitor.failed_attempts import FAILURES, MAX_NAMES, MOST_FAILURES, WINDOW_SECONDS

__all__ = ["FAILURES", "MAX_NAMES", "MOST_FAILURES", "WINDOW_SECONDS", "Throttle"]


class Throttle:
    """Counts attempts by name, in windows that begin with the first one."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def begin(self, names: Mapping[str, int]) -> int:
        """Count an attempt; answers 0, or the seconds until these names may try again. Each may have as many
        as it says."""
        now = self._clock()
        return await self._database.write(lambda connection: failed_attempts.begin(connection, names, now))

    async def take_back(self, names: Iterable[str]) -> None:
        """The attempt was right, or nobody could say."""
        await self._database.write(lambda connection: failed_attempts.take_back(connection, names))
