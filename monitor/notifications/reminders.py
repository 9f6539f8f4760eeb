"""The loop that sends a reminder of each open incident, for the rules that ask for it (`repeat`)."""

import logging

from sqlalchemy import Connection

from monitor.clock import Clock
from monitor.concurrency import OnDefect, WakeSignal, repeat_look
from monitor.database.engine import Database
from monitor.database.pubsub import DELIVERY, signal
from monitor.event_log import append, read
from monitor.notifications import incidents
from monitor.notifications.engine import Engine

EVERY = 60.0  # seconds: the shortest `repeat` that makes sense is far longer
AT_ONCE = 100  # incidents in one transaction, so that ingest never waits long

logger = logging.getLogger(__name__)


class Reminders:
    """The reminders of open incidents. `run()` is the background task, and `look()` is one round."""

    def __init__(
        self, database: Database, engine: Engine, delivery: WakeSignal, clock: Clock, on_defect: OnDefect
    ) -> None:
        self._database = database
        self._engine = engine
        self._delivery = delivery
        self._clock = clock
        self._on_defect = on_defect

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        await repeat_look(self.look, EVERY, "nobody is reminded of open incidents", self._on_defect)

    async def look(self) -> None:
        """Remind of every incident of which it is time. Raises SQLAlchemyError."""
        after: int | None = 0
        while after is not None:
            start = after
            after, called_for = await self._database.write(lambda connection: self._some(connection, start))  # noqa: B023 (awaited here)
            if called_for:
                self._delivery.set()

    def _some(self, connection: Connection, after: int) -> tuple[int | None, bool]:
        """Remind of some incidents behind an id.
        Return where to go on, and whether anything is to be sent.

        This happens under the log's lock, so the second of two replicas sees what the first has notified."""
        append.lock(connection)
        found = incidents.open_ones(connection, after, AT_ONCE)
        called_for = False
        for incident in found:
            event = read.find_event(connection, incident.last_seq)
            if event is not None:
                called_for |= self._engine.remind(connection, incident, event, self._clock())
        if called_for:
            signal(connection, DELIVERY)
        return (found[-1].id if len(found) == AT_ONCE else None), called_for
