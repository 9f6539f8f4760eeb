"""Forgets events by age, a batch at a time, so that ingest never waits long behind it."""

import asyncio
import logging
from datetime import timedelta

from monitor import event_log
from monitor.clock import Clock
from monitor.database import Database

LOOK_SECONDS = 3600  # events are kept for days; an hour more does no harm
PAUSE_SECONDS = 0.05  # between two batches: the writer's turn for whoever waits

logger = logging.getLogger(__name__)


class Retention:
    """Keeps `days` of the log. A cursor older than that gets an explicit reset."""

    def __init__(self, database: Database, days: float, clock: Clock) -> None:
        self._database = database
        self._age = timedelta(days=days)
        self._clock = clock

    async def run(self) -> None:
        """Look once an hour until cancelled."""
        while True:
            await self.forget()
            await asyncio.sleep(LOOK_SECONDS)

    async def forget(self) -> int:
        """Forget everything that is old enough; answers how many events that was."""
        before = self._clock() - self._age
        forgotten = 0
        while gone := await self._database.write(lambda connection: event_log.prune(connection, before)):
            forgotten += gone
            await asyncio.sleep(PAUSE_SECONDS)
        if forgotten:
            logger.info("forgot %d events from before %s", forgotten, before.isoformat())
        return forgotten
