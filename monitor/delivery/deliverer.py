"""The background work that empties the outbox: a line a channel, and what all of them share."""

import asyncio
import logging
from collections.abc import Mapping
from random import SystemRandom

from sqlalchemy.exc import SQLAlchemyError

from monitor import outbox
from monitor.channels import Sender
from monitor.clock import Clock
from monitor.database import Database
from monitor.delivery.desk import Desk
from monitor.delivery.line import Line
from monitor.delivery.news import Log, News
from monitor.delivery.office import Office
from monitor.delivery.retry import Jitter
from monitor.metrics import Metrics
from monitor.rules import Channel
from monitor.wake import Wake

COUNT_SECONDS = 15.0  # the gauge of what waits: counting a million rows at each delivery would be the work

_random = SystemRandom().random

logger = logging.getLogger(__name__)


class Deliverer:
    """`run()` is the background task; `work()` is one turn of it."""

    def __init__(
        self,
        database: Database,
        desk: Desk,
        senders: Mapping[Channel, Sender],
        wake: Wake,
        metrics: Metrics,
        clock: Clock,
        host: str,
        log: Log | None = None,
        jitter: Jitter = _random,
    ) -> None:
        """`host`: the right side of a digest's Message-ID. `log`: ingest's door for events of deliveries."""
        self._database = database
        self._metrics = metrics
        office = Office(database, desk, wake, metrics, clock, News(log), host, jitter)
        self._lines = {channel: Line(channel, sender, office) for channel, sender in senders.items()}

    async def run(self) -> None:
        """Deliver until cancelled."""
        work = [*(line.run() for line in self._lines.values()), self._count()]
        tasks = [asyncio.ensure_future(one) for one in work]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def work(self) -> bool:
        """Deliver what is due; False: nothing was."""
        worked = [await line.work() for line in self._lines.values()]
        await self.count()
        return any(worked)

    async def count(self) -> None:
        self._metrics.deliveries_waiting.set(await self._database.read(outbox.waiting))

    async def _count(self) -> None:
        while True:
            try:
                await self.count()
            except SQLAlchemyError as error:
                logger.warning("what waits in the outbox could not be counted: %s", error)
            await asyncio.sleep(COUNT_SECONDS)
