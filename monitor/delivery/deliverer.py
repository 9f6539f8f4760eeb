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
from monitor.delivery.office import Held, Office, free
from monitor.delivery.retry import Jitter
from monitor.ending import first_of
from monitor.journal import Journal
from monitor.metrics import Metrics
from monitor.rules import Channel
from monitor.tracing import OFF, Traces
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
        journal: Journal | None = None,
        traces: Traces = OFF,
        held_until: Held = free,
    ) -> None:
        """`host`: the right side of a digest's Message-ID. `log`: ingest's door for events of deliveries.
        `journal`: keeps what was sent for a database that is restored from a backup. `held_until`: until when
        all of it waits."""
        self._database = database
        self._metrics = metrics
        self._clock = clock
        self._journal = journal
        office = Office(
            *(database, desk, wake, metrics, clock, News(log), host, jitter, journal, traces, held_until)
        )
        self._lines = {channel: Line(channel, sender, office) for channel, sender in senders.items()}

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            await first_of(*(line.run() for line in self._lines.values()), self._count())
        finally:
            await self._flush()

    async def work(self) -> bool:
        """Deliver what is due; False: nothing was."""
        worked = [await line.work() for line in self._lines.values()]
        await self._flush()
        await self.count()
        return any(worked)

    async def _flush(self) -> None:
        if self._journal is not None:
            await self._journal.flush()

    async def count(self) -> None:
        now = self._clock()
        found, trouble = await self._database.read(
            lambda connection: (outbox.standing(connection, now), outbox.trouble(connection))
        )
        self._metrics.mail_failing.set((now - trouble.since).total_seconds() if trouble else 0)
        self._metrics.deliveries_waiting.set(found.waiting)
        for state, number in found.by_state.items():
            self._metrics.outbox.labels(state.value).set(number)
        for channel in self._lines:
            waits = (now - found.oldest.get(channel, now)).total_seconds()
            self._metrics.delivery_oldest.labels(channel.value).set(waits)

    async def _count(self) -> None:
        while True:
            try:
                await self.count()
            except SQLAlchemyError as error:
                logger.warning("what waits in the outbox could not be counted: %s", error)
            await asyncio.sleep(COUNT_SECONDS)
