"""The parts that all snapshots share: the logging of events, and the rows that Airflow can contradict."""

import logging
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.database.statements import Row
from monitor.event_log import read
from monitor.event_log.ingest import Ingest
from monitor.events.event import Event
from monitor.observability.metrics import Metrics

COMMIT_WAIT = timedelta(seconds=15)
"""The least age of the log's last report at the time of the question. Hooks fire before the commit, and the
dag-processor commits once it has stored all that a file holds. Another monitor may have reported an answer
later than this one's."""

logger = logging.getLogger(__name__)


class SnapshotReporter:
    """The reporter of one snapshot's findings. It logs once what makes no event."""

    def __init__(self, name: str, deployment: str, ingest: Ingest, metrics: Metrics) -> None:
        self._name = name
        self._deployment = deployment
        self._ingest = ingest
        self._metrics = metrics
        self._passed: Collection[str] = ()

    async def report(self, events: list[Event]) -> None:
        """Log the events and count the new ones. Raises IngestBusy and SQLAlchemyError."""
        if not events:
            return
        taken = await self._ingest.take(events)
        for event, new in zip(events, taken, strict=True):
            if new:
                self._metrics.reconcile_filled.labels(self._deployment, event.type).inc()

    def pass_over(self, passed: Mapping[str, str]) -> None:
        """Log and count, once for as long as it lasts, what makes no event.
        `passed` maps a name to the reason."""
        for name in passed.keys() - self._passed:
            logger.warning("%s: %s of %s: %s", self._deployment, name, self._name, passed[name])
            self._metrics.events.labels("rejected", "reconciler").inc()
        self._passed = passed.keys()


def find_settled(connection: Connection, changed: Mapping[str, Row], asked_at: datetime) -> set[str]:
    """Return the rows of the read model that Airflow's answer to a question at `asked_at` can contradict."""
    seqs = {row["last_seq"] for row in changed.values() if row["last_seq"] is not None}
    logged = read.find_received_times(connection, seqs)  # what is not there is forgotten, and so old enough
    before = asked_at - COMMIT_WAIT
    return {name for name, row in changed.items() if logged.get(row["last_seq"], before) <= before}
