"""From a page of Airflow's to the log: tell what the log lacks, and what it has otherwise.

Safe to do at any time and twice: ids are natural keys and the log takes each once.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor import board, event_log, last_word
from monitor.airflow_api import Page
from monitor.clock import Clock
from monitor.database import Database
from monitor.errors import EventError
from monitor.events import Event
from monitor.events.data import TaskInstanceData
from monitor.events.rest import Row
from monitor.ingest import Ingest
from monitor.metrics import Metrics
from monitor.reconciler.earlier_tries import EarlierTries
from monitor.reconciler.listings import RowKind

SETTLED = timedelta(seconds=15)
"""How old the log's last word must have been when Airflow was asked, before Airflow's answer contradicts it:
hooks fire before the commit."""

MAX_REJECTED = 1_000  # rows that make no sense whose names are remembered; then they are said once more

logger = logging.getLogger(__name__)


class Filling:
    """Fills the log of one deployment. `retention`: how long the log keeps events; None: for ever."""

    def __init__(
        self,
        deployment: str,
        database: Database,
        ingest: Ingest,
        metrics: Metrics,
        clock: Clock,
        retention: timedelta | None,
        earlier_tries: EarlierTries,
    ) -> None:
        self._deployment = deployment
        self._database = database
        self._ingest = ingest
        self._metrics = metrics
        self._clock = clock
        self._retention = retention
        self._earlier_tries = earlier_tries
        self._said = False
        self._rejected: set[tuple[str, str]] = set()

    async def fill(self, kind: RowKind, page: Page) -> list[datetime]:
        """Tell what is to be told of a page; answers since when those wait that are too young.

        Raises IngestBusy, SQLAlchemyError.
        """
        self._metrics.reconcile_rows.labels(self._deployment, kind.name).inc(len(page.rows))
        events: dict[str, Event] = {}
        shown: list[Event] = []
        waiting = []
        for row in page.rows:
            try:
                since = kind.waiting_since(row, page.moment)
                event = kind.build(self._deployment, row, self._clock())
            except EventError as error:
                self._reject(kind, row, error)
                continue
            if event is None:
                continue
            shown.append(event)
            if since:
                waiting.append(since)
            else:
                events[event.id] = event
        await self._tell(events, page.asked - SETTLED)
        await self._correct_dates(shown)
        if kind.has_earlier_tries:
            waiting += await self._earlier_tries.fill(page)
        return waiting

    async def _tell(self, events: Mapping[str, Event], settled_before: datetime) -> None:
        wanted = await self._database.read(
            lambda connection: self._to_be_told(connection, events, settled_before)
        )
        if not wanted:
            return
        taken = await self._ingest.take(wanted)
        for event, new in zip(wanted, taken, strict=True):
            if new:
                self._metrics.reconcile_filled.labels(self._deployment, event.type).inc()

    async def _correct_dates(self, shown: Sequence[Event]) -> None:
        """Of ends that hooks told: what is known is not told again, and its dates are Airflow's from here."""
        tasks = [event for event in shown if isinstance(event.data, TaskInstanceData)]
        if not tasks:
            return
        otherwise = await self._database.read(lambda connection: board.dated_otherwise(connection, tasks))
        if otherwise:
            await self._database.write(lambda connection: board.correct_dates(connection, otherwise))

    def _to_be_told(
        self, connection: Connection, events: Mapping[str, Event], settled_before: datetime
    ) -> list[Event]:
        source = f"/airflow/{self._deployment}"
        lacking = event_log.lacking(connection, events.values())
        lacking -= self._told_and_forgotten(connection, [events[event_id] for event_id in lacking])
        forgotten = {event_id for event_id in lacking if self._is_forgotten(events[event_id])}
        new = [event for event_id, event in events.items() if event_id in lacking - forgotten]
        known = {event_id: event for event_id, event in events.items() if event_id not in lacking}
        old = {event_id: events[event_id] for event_id in forgotten}
        again = last_word.contradictions(connection, source, known, settled_before)
        changed = last_word.contradictions(connection, source, old, settled_before)
        self._pass_over(list(old.values()), len(old) - len(changed))
        return [*new, *again, *changed]

    def _told_and_forgotten(self, connection: Connection, events: Sequence[Event]) -> set[str]:
        """Which ends without a time of their own the board knows although the log lacks them: they were told,
        and the log has forgotten it. Their time is that of each look, so their age does not tell."""
        timeless = [event for event in events if board.is_end(event) and event.get("end_date") is None]
        words = board.last_words(connection, timeless) if timeless else {}
        return {
            event.id
            for event in timeless
            if event.id in words and words[event.id].state == event.get("state")
        }

    def _is_forgotten(self, event: Event) -> bool:
        """Whether it is older than what the log keeps. Then it was told, or is from before the first start:
        a row that is merely touched long after is not told again. One whose state was changed is.
        """
        return self._retention is not None and event.time < self._clock() - self._retention

    def _pass_over(self, old: Sequence[Event], number: int) -> None:
        if not number:
            return
        self._metrics.reconcile_skipped.labels(self._deployment, "expired").inc(number)
        if not self._said:
            self._said = True
            logger.warning(
                "%s: Airflow changed rows from before what the log keeps, such as %s of %s; they are passed "
                "over and counted",
                *(self._deployment, old[0].subject, old[0].time.isoformat()),
            )

    def _reject(self, kind: RowKind, row: Row, error: EventError) -> None:
        """One row that makes no sense holds up no other; it is the same at the next look, and said once."""
        name = "/".join(str(row.get(key)) for key in ("dag_id", "dag_run_id", "task_id", "id") if key in row)
        if (name, str(error)) in self._rejected:
            return
        if len(self._rejected) >= MAX_REJECTED:
            self._rejected.clear()
        self._rejected.add((name, str(error)))
        logger.warning("%s: %s of %s makes no event: %s", self._deployment, name, kind.name, error)
        self._metrics.events.labels("rejected", "reconciler").inc()
