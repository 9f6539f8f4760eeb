"""One comparison of a listing with the log: read what changed, tell what the log lacks, move the watermark.

Safe to run at any time and twice: ids are natural keys and the log takes each once.
"""

import logging
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from monitor import event_log
from monitor.airflow_api import AirflowApi, Page
from monitor.clock import Clock
from monitor.database import Database
from monitor.errors import EventError
from monitor.events import Event
from monitor.events.rest import Row
from monitor.ingest import Ingest
from monitor.metrics import Metrics
from monitor.reconciler import watermarks
from monitor.reconciler.listings import Listing

OVERLAP = timedelta(seconds=60)  # Airflow's transactions commit late, and its hosts' clocks differ
DEEP_OVERLAP = timedelta(minutes=15)  # the same for what comes very late: looked at again,
DEEP_EVERY = timedelta(minutes=5)  # but this seldom
FIRST_WINDOW = timedelta(minutes=5)  # what a first start still tells; before that is the past
MAX_ROWS = 2_000  # of one comparison, so that catching up after days goes in steps, each of which is kept
SMALLEST_WINDOW = timedelta(seconds=1)  # more rows than MAX_ROWS in less than this are read all the same

ORIGIN = "origin"
"""The watermark before which nothing is told: a little before the monitor's first start."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Window:
    since: datetime
    until: datetime | None = None

    def halved(self, now: datetime) -> "_Window":
        return _Window(self.since, self.since + ((self.until or now) - self.since) / 2)

    def holds_too_much(self, page: Page, most: int) -> bool:
        return page.total > most and (self.until or page.moment) - self.since > SMALLEST_WINDOW


class Comparison:
    """The watermarks of one Airflow, and the step that moves them."""

    def __init__(
        self,
        api: AirflowApi,
        database: Database,
        ingest: Ingest,
        metrics: Metrics,
        clock: Clock,
        max_rows: int = MAX_ROWS,
    ) -> None:
        self._api = api
        self._database = database
        self._ingest = ingest
        self._metrics = metrics
        self._clock = clock
        self._max_rows = max_rows
        self._source = f"/airflow/{api.deployment}"
        self._deep: dict[str, datetime] = {}
        self._behind: set[str] = set()
        self.marks: dict[str, datetime] = {}

    async def load(self) -> None:
        """Take up the watermarks where the last process left them; at a first start, set the origin. Once."""
        if self.marks:
            return
        deployment = self._api.deployment
        self.marks = await self._database.read(lambda connection: watermarks.load(connection, deployment))
        if ORIGIN not in self.marks:
            await self._save({ORIGIN: self._clock() - FIRST_WINDOW})

    async def catch_up(self, listing: Listing) -> bool:
        """Compare what changed since the watermark, up to about `max_rows`. True: go on at once.

        The watermark moves only once everything up to it is in the log. Raises AirflowError, IngestBusy.
        """
        deep = self._is_deep(listing)
        window = _Window(self._since(listing, deep))
        while isinstance(mark := await self._read(listing, window), _Window):
            window = mark
        await self._save({listing.name: mark})
        if deep:
            self._deep[listing.name] = self._clock()
        # Behind only while it gets on: what waits for its age is not to be asked for again and again.
        behind = window.until is not None and mark > window.since
        (self._behind.add if behind else self._behind.discard)(listing.name)
        return behind

    async def _read(self, listing: Listing, window: _Window) -> datetime | _Window:
        """Tell what the log lacks of a window: answers up to when; a smaller one where it holds too much."""
        mark = window.until or datetime.max.replace(tzinfo=timezone.utc)
        async with aclosing(listing.pages(self._api, window.since, window.until)) as pages:
            first = True
            async for page in pages:
                if first and window.holds_too_much(page, self._max_rows):
                    return window.halved(page.moment)
                waiting = await self._fill(listing, page)
                mark = min([mark, page.moment, *waiting])
                first = False
        return mark

    async def _fill(self, listing: Listing, page: Page) -> list[datetime]:
        """Tell the events of a page that the log lacks; answers since when those wait that are too young."""
        events: dict[str, Event] = {}
        waiting = []
        for row in page.rows:
            try:
                since = listing.waiting_since(row, page.moment)
                event = listing.build(self._api.deployment, row, self._clock())
            except EventError as error:
                self._reject(listing, row, error)
                continue
            if event and since:
                waiting.append(since)
            elif event:
                events[event.id] = event
        await self._tell(events)
        return waiting

    async def _tell(self, events: dict[str, Event]) -> None:
        lacking = await self._database.read(
            lambda connection: event_log.missing(connection, self._source, events)
        )
        wanted = [event for event_id, event in events.items() if event_id in lacking]
        if not wanted:
            return
        taken = await self._ingest.take(wanted)
        for event, new in zip(wanted, taken, strict=True):
            if new:
                self._metrics.reconcile_filled.labels(self._api.deployment, event.type).inc()

    def _reject(self, listing: Listing, row: Row, error: EventError) -> None:
        """One row that makes no sense holds up no other; it is the same at the next look, so it is passed."""
        name = "/".join(str(row.get(key)) for key in ("dag_id", "dag_run_id", "task_id", "id") if key in row)
        logger.warning("%s: %s of %s makes no event: %s", self._api.deployment, name, listing.name, error)
        self._metrics.events.labels("rejected", "reconciler").inc()

    def _since(self, listing: Listing, deep: bool) -> datetime:
        origin = self.marks[ORIGIN]
        mark = self.marks.get(listing.name, origin)
        if listing.name in self._behind:  # in the middle of catching up; overlapping would undo the step
            return mark
        return max(origin, mark - (DEEP_OVERLAP if deep else OVERLAP))

    def _is_deep(self, listing: Listing) -> bool:
        last = self._deep.get(listing.name)
        return last is None or self._clock() - last >= DEEP_EVERY

    async def _save(self, marks: dict[str, datetime]) -> None:
        deployment, now = self._api.deployment, self._clock()
        await self._database.write(lambda connection: watermarks.save(connection, deployment, marks, now))
        self.marks |= marks
