"""From what a watch finds to what is told: what is new, once; and what is over.

What is told is kept (standing.py) after the log has it: a crash between the two tells it again, under the
same id, which the log knows.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection

from monitor import incidents
from monitor.database import Database
from monitor.events import Event, watched_runs
from monitor.ingest import Ingest
from monitor.metrics import Metrics
from monitor.watches.finding import Finding, Key, Open
from monitor.watches.standing import MAX_SUBJECT, end_all, open_findings, raise_all

logger = logging.getLogger(__name__)

Over = Callable[[Open], Event | None]
"""What is told when a finding is over; None: nothing."""


class Account:
    """Of one deployment."""

    def __init__(self, deployment: str, database: Database, ingest: Ingest, metrics: Metrics) -> None:
        self.deployment = deployment
        self._database = database
        self._ingest = ingest
        self._metrics = metrics
        self.open: dict[Key, Open] = {}
        """What was told and is not over."""

    async def load(self) -> None:
        """Raises SQLAlchemyError."""
        self.open = await self._database.read(lambda connection: open_findings(connection, self.deployment))

    async def settle(
        self, watch: str, kind: str, found: Sequence[Finding], over: Over, now: datetime
    ) -> None:
        """Tell how what is found of this type differs from what is open. Raises IngestBusy,
        SQLAlchemyError, EventError."""
        named = {one.key: one for one in found if self._fits(one)}
        new = [one for key, one in named.items() if key not in self.open or self.open[key].found != one.found]
        ended = [one for key, one in self.open.items() if one.type == kind and key not in named]
        events = [one.build() for one in new]
        for past in ended:
            # Gone from what is open before the next is asked about: of two, the last tells.
            del self.open[past.key]
            if event := over(past):
                events.append(event)
        if events:
            await self._ingest.take(events)
        if new or ended:
            await self._database.write(lambda connection: self._keep(connection, new, ended, now))
        for one in new:
            self.open[one.key] = Open(one.type, one.subject, one.found, now)
            self._metrics.watch_findings.labels(self.deployment, watch).inc()
            logger.info("%s: %s: %s", self.deployment, one.type, one.subject)
        still = sum(one.type == kind for one in self.open.values())
        self._metrics.watch_open.labels(self.deployment, watch).set(still)

    def _keep(
        self, connection: Connection, new: Sequence[Finding], ended: Sequence[Open], now: datetime
    ) -> None:
        replaced = [self.open[one.key] for one in new if one.key in self.open]
        for past in (*ended, *replaced):
            # Of a run nothing is told when it is over: its incident ends with the finding.
            if event_id := watched_runs.id_of(past.type, past.subject, past.found):
                incidents.close_found(connection, self.deployment, event_id, now)
        raise_all(connection, self.deployment, new, now)
        end_all(connection, self.deployment, [one.key for one in ended], now)

    def _fits(self, one: Finding) -> bool:
        if len(one.subject) <= MAX_SUBJECT:
            return True
        logger.warning(
            "%s: %s: a name of %d characters is left out", *(one.type, one.subject[:80]), len(one.subject)
        )
        return False
