"""The comparison of one Airflow with the log, in steps.

Each step reads what changed since a watermark, logs what the log lacks, and moves the watermark. Watermarks
are stored in the database, so they outlive the process.
"""

from contextlib import aclosing
from datetime import datetime, timedelta, timezone

from monitor.airflow.client import AirflowApi
from monitor.airflow.paging import ListingPage
from monitor.clock import Clock
from monitor.database.engine import Database
from monitor.event_log.deployments import origin_of
from monitor.observability.metrics import Metrics
from monitor.reconciler import status
from monitor.reconciler.gap_filling import GapFiller
from monitor.reconciler.listings import LISTINGS, Listing, RateLimiter, Window

OVERLAP = timedelta(seconds=60)  # Airflow's transactions commit late, and its hosts' clocks differ
DEEP_OVERLAP = timedelta(minutes=15)  # the same for what comes very late: looked at again,
DEEP_EVERY = timedelta(minutes=5)  # but this seldom
GLANCE_OVERLAP = timedelta(seconds=5)  # the same between two polls: the next poll overlaps by more
MAX_ROWS = 2_000  # of one step, so that catching up after days goes in steps, each of which is kept
SMALLEST_WINDOW = timedelta(seconds=1)  # more rows than MAX_ROWS in less than this are read all the same
PAST = "past."  # before the names of the past's watermarks


class Comparison:
    """The comparison of one Airflow from its origin on, or of the past before it for `look_back`.

    The past has an end and is compared once: a first start logs it without notifications."""

    def __init__(
        self,
        api: AirflowApi,
        database: Database,
        gap_filler: GapFiller,
        metrics: Metrics,
        clock: Clock,
        max_rows: int = MAX_ROWS,
        look_back: timedelta | None = None,
    ) -> None:
        self._api = api
        self._database = database
        self._gap_filler = gap_filler
        self._metrics = metrics
        self._clock = clock
        self._max_rows = max_rows
        self._look_back = look_back
        self._prefix = "" if look_back is None else PAST
        self._begin = datetime.max.replace(tzinfo=timezone.utc)
        self._end: datetime | None = None
        self._marks: dict[str, datetime] = {}  # empty until loaded
        self._deep: dict[str, datetime] = {}
        self._steps: dict[str, timedelta] = {}
        self._paces: dict[str, RateLimiter] = {}

    async def load(self) -> None:
        """Load, once, the watermarks that the last process left. Raises SQLAlchemyError."""
        if self._marks:
            return
        deployment, now = self._api.deployment, self._clock()
        origin = await self._database.write(lambda connection: origin_of(connection, deployment, now))
        marks = await self._database.read(lambda connection: status.load_watermarks(connection, deployment))
        self._end = None if self._look_back is None else origin
        self._begin = origin - (self._look_back or timedelta())
        self._marks = {
            listing.name: marks.get(self._prefix + listing.name, self._begin) for listing in LISTINGS
        }

    def pace(self, listing: Listing) -> RateLimiter:
        """Return the rate limiter of this listing."""
        return self._paces.setdefault(listing.name, RateLimiter(listing.rate_limit))

    def is_due(self, listing: Listing) -> bool:
        """Return True if a step may be made: the end is not reached, and the listing's cost allows it."""
        if self._end:
            return self._marks[listing.name] < self._end
        return listing.name in self._steps or self.pace(listing).is_due(self._clock())

    def watermark(self, listing: Listing) -> datetime | None:
        """Return the moment up to which everything that this listing shows is in the log."""
        return self._marks.get(listing.name)

    async def catch_up(self, listing: Listing) -> bool:
        """Compare what changed since the watermark, up to about `max_rows`. True: go on at once.

        The watermark moves only once everything up to it is in the log. Raises AirflowError, IngestBusy,
        SQLAlchemyError.
        """
        deep = self._is_deep(listing)
        window = self._window(listing, deep)
        limiter = self.pace(listing)
        while isinstance(mark := await self._read(listing, window, limiter), Window):
            window = mark
        await self._save({listing.name: mark})
        if deep:
            self._deep[listing.name] = self._clock()
        # Behind only while it gets on: what waits for its age is not to be asked for again and again.
        if window.until is None or mark <= window.since:
            self._steps.pop(listing.name, None)
            return False
        self._steps[listing.name] = window.until - window.since
        return True

    async def glance(self, listing: Listing) -> None:
        """Compare what changed since the watermark, and leave the watermark and the next poll as they are.

        Raises AirflowError, IngestBusy, SQLAlchemyError.
        """
        await self.load()
        limiter = self._paces.setdefault(f"glance.{listing.name}", RateLimiter(listing.rate_limit))
        await self._read(
            listing, Window(self._marks[listing.name] - GLANCE_OVERLAP, None, self._clock()), limiter
        )

    def _window(self, listing: Listing, deep: bool) -> Window:
        now, mark = self._clock(), self._marks[listing.name]
        step = self._steps.get(listing.name)
        if step or self._end:  # in the middle of catching up, in which overlapping would undo the step
            until = min(mark + 2 * step if step else now, self._end or now)
            return Window(mark, until if until < now else None, now)
        return Window(max(self._begin, mark - (DEEP_OVERLAP if deep else OVERLAP)), None, now)

    async def _read(self, listing: Listing, window: Window, limiter: RateLimiter) -> datetime | Window:
        """Log what the log lacks of a window.
        Return the moment up to which that is done, or a smaller window if this one holds too much."""
        mark = window.until or datetime.max.replace(tzinfo=timezone.utc)
        spent: list[float] = []
        async with aclosing(listing.pages(self._api, window)) as pages:
            async for page in pages:
                if not spent:
                    limiter.took(page.asked_at, page.seconds)
                    if self._holds_too_much(window, page):
                        return _halve(window, page.moment)
                spent.append(page.seconds)
                young = await self._gap_filler.fill(listing, page)
                mark = min([mark, page.moment, *young])
        self._metrics.reconcile_request.labels(self._api.deployment, listing.name).observe(sum(spent))
        return mark

    def _holds_too_much(self, window: Window, page: ListingPage) -> bool:
        length = (window.until or page.moment) - window.since
        return page.total > self._max_rows and length > SMALLEST_WINDOW

    def _is_deep(self, listing: Listing) -> bool:
        last = self._deep.get(listing.name)
        return last is None or self._clock() - last >= DEEP_EVERY

    async def _save(self, marks: dict[str, datetime]) -> None:
        deployment, now = self._api.deployment, self._clock()
        moments = {self._prefix + name: moment for name, moment in marks.items()}
        await self._database.write(
            lambda connection: status.save_watermarks(connection, deployment, moments, now)
        )
        self._marks |= marks


def _halve(window: Window, moment: datetime) -> Window:
    """Return the first half of the window. `moment` is Airflow's present, as `since` is."""
    return Window(window.since, window.since + ((window.until or moment) - window.since) / 2, window.now)
