"""The findings of watches, and the table of those that were reported.

`FindingTracker` compares what a watch finds with what is open. It reports a new finding once, and the end of
a finding that is over.

A reported finding is stored after its event is logged. A crash between the two steps reports the finding
again under the same id, which the log already has.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from monitor.database import statements
from monitor.database.engine import Database
from monitor.database.schema import watch_findings
from monitor.database.statements import SweepResult
from monitor.event_log.ingest import Ingest
from monitor.events import from_watches
from monitor.events.event import Event
from monitor.notifications import incident_transitions
from monitor.observability.metrics import Metrics

Key = tuple[str, str]
"""An event's type, and which DAG or asset it is about."""


@dataclass(frozen=True)
class Finding:
    """A fault that exists now."""

    type: str
    """The event's."""
    subject: str
    """The DAG, asset or part of the monitor. One finding of each type is open at a time."""
    found: str
    """The occurrence. Another occurrence is reported anew."""
    build: Callable[[], Event]
    """A function that builds the event. It is called only if the finding is reported."""

    @property
    def key(self) -> Key:
        """The type and subject, of which one finding is open at a time."""
        return self.type, self.subject


@dataclass(frozen=True)
class OpenFinding:
    """A finding that was reported and is not over."""

    type: str
    subject: str
    found: str
    raised_at: datetime

    @property
    def key(self) -> Key:
        """The type and subject of the finding."""
        return self.type, self.subject

    def still(self) -> Finding:
        """Return the same finding for another look."""

        def build() -> Event:
            raise AssertionError("what was reported is not reported again")

        return Finding(self.type, self.subject, self.found, build)


MAX_SUBJECT = 1_500  # characters, the column's


def open_findings(connection: Connection, deployment: str) -> dict[Key, OpenFinding]:
    """Return the findings that were reported and are not over."""
    query = select(watch_findings).where(
        watch_findings.c.deployment == deployment, watch_findings.c.ended_at.is_(None)
    )
    rows = connection.execute(query)
    found = [OpenFinding(row.type, row.subject, row.found, row.raised_at) for row in rows]
    return {finding.key: finding for finding in found}


_HERE = (
    (watch_findings.c.deployment == bindparam("at_deployment"))
    & (watch_findings.c.type == bindparam("at_type"))
    & (watch_findings.c.subject == bindparam("at_subject"))
)


def _places(deployment: str, keys: Collection[Key]) -> list[dict[str, object]]:
    return [{"at_deployment": deployment, "at_type": kind, "at_subject": subject} for kind, subject in keys]


def raise_all(connection: Connection, deployment: str, findings: Collection[Finding], now: datetime) -> None:
    """Store these findings as reported. They replace earlier findings of the same subjects."""
    if not findings:
        return
    connection.execute(delete(watch_findings).where(_HERE), _places(deployment, [f.key for f in findings]))
    rows = [
        {"type": finding.type, "subject": finding.subject, "found": finding.found, "raised_at": now}
        for finding in findings
    ]
    connection.execute(insert(watch_findings), [row | {"deployment": deployment} for row in rows])


def end_all(connection: Connection, deployment: str, keys: Collection[Key], now: datetime) -> None:
    """Store these findings as over."""
    if keys:
        ended = update(watch_findings).where(_HERE).values(ended_at=now)
        connection.execute(ended, _places(deployment, keys))


def forget(connection: Connection, before: datetime, after: statements.Key) -> SweepResult:
    """Delete findings that were over before a moment."""
    return statements.walk(connection, watch_findings, after, watch_findings.c.ended_at < before)


logger = logging.getLogger(__name__)

Over = Callable[[OpenFinding], Event | None]
"""A function that returns the event of a finding's end, or None for no event."""


class FindingTracker:
    """The open findings of one deployment."""

    def __init__(self, deployment: str, database: Database, ingest: Ingest, metrics: Metrics) -> None:
        self.deployment = deployment
        self._database = database
        self._ingest = ingest
        self._metrics = metrics
        self.open: dict[Key, OpenFinding] = {}
        """The findings that were reported and are not over."""

    async def load(self) -> None:
        """Load the open findings. Raises SQLAlchemyError."""
        self.open = await self._database.read(lambda connection: open_findings(connection, self.deployment))

    async def settle(
        self, watch: str, kind: str, found: Sequence[Finding], over: Over, now: datetime
    ) -> None:
        """Report the new findings of this type, and the end of those that are over.
        Raises IngestBusy, SQLAlchemyError and EventError."""
        findings = {finding.key: finding for finding in found if self._fits(finding)}
        new = [
            finding
            for key, finding in findings.items()
            if key not in self.open or self.open[key].found != finding.found
        ]
        ended = [
            finding for key, finding in self.open.items() if finding.type == kind and key not in findings
        ]
        events = [finding.build() for finding in new]
        for past in ended:
            # Removed from the open findings before the next is asked about: of two, the last reports.
            del self.open[past.key]
            if event := over(past):
                events.append(event)
        if events:
            await self._ingest.take(events)
        if new or ended:
            await self._database.write(lambda connection: self._keep(connection, new, ended, now))
        for finding in new:
            self.open[finding.key] = OpenFinding(finding.type, finding.subject, finding.found, now)
            self._metrics.watch_findings.labels(self.deployment, watch).inc()
            logger.info("%s: %s: %s", self.deployment, finding.type, finding.subject)
        still = sum(finding.type == kind for finding in self.open.values())
        self._metrics.watch_open.labels(self.deployment, watch).set(still)

    def _keep(
        self, connection: Connection, new: Sequence[Finding], ended: Sequence[OpenFinding], now: datetime
    ) -> None:
        replaced = [self.open[finding.key] for finding in new if finding.key in self.open]
        for past in (*ended, *replaced):
            # The end of a finding about a run is not reported: its incident ends with the finding.
            if event_id := from_watches.id_of(past.type, past.subject, past.found):
                incident_transitions.close_found(connection, self.deployment, event_id, now)
        raise_all(connection, self.deployment, new, now)
        end_all(connection, self.deployment, [finding.key for finding in ended], now)

    def _fits(self, finding: Finding) -> bool:
        if len(finding.subject) <= MAX_SUBJECT:
            return True
        logger.warning(
            "%s: %s: a name of %d characters is left out",
            *(finding.type, finding.subject[:80]),
            len(finding.subject),
        )
        return False


def moment_in(text: str) -> datetime:
    """Return the moment that `stamp` wrote."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
