"""A brake on guessing passwords and tokens, which holds at every monitor on the same database."""

from monitor import failed_attempts
from monitor.clock import Clock
from monitor.database import Database
from monitor.failed_attempts import FAILURES, MAX_NAMES, WINDOW_SECONDS

__all__ = ["FAILURES", "MAX_NAMES", "WINDOW_SECONDS", "Throttle"]


class Throttle:
    """Counts failures by name, in windows that begin with the first failure."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def wait(self, *names: str) -> int:
        """Seconds until these names may try again; 0: now."""
        now = self._clock()
        return await self._database.read(lambda connection: failed_attempts.wait(connection, names, now))

    async def fail(self, *names: str) -> None:
        now = self._clock()
        await self._database.write(lambda connection: failed_attempts.fail(connection, names, now))
