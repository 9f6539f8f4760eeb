"""The loop: compare every few seconds, or at once when a listener says that an asset was updated.

Odd on purpose: a hook of an asset fires before Airflow commits, so after such a nudge Airflow is asked
several times within a few seconds, and not only until something new was seen: one nudge may stand for many
assets.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from monitor.airflow_api import AirflowApi
from monitor.clock import Clock
from monitor.database import Database
from monitor.errors import AirflowError, AirflowRefused, AirflowUnreachable
from monitor.ingest import Ingest, IngestBusy
from monitor.metrics import Metrics
from monitor.reconciler.comparison import MAX_ROWS, ORIGIN, Comparison
from monitor.reconciler.listings import ASSETS, LISTINGS
from monitor.wake import Wake

NUDGE_LOOKS = (0.1, 0.4, 1.0, 2.0, 4.0, 7.0)  # seconds after a nudge; the last is past CREATED_RUNS_WAIT
MAX_BACK_OFF = 120.0  # seconds: an Airflow that is back after a night is looked at within two minutes
TOLERATED = timedelta(minutes=1)
"""How long one listing may fail beside others that do not, before it is trouble. Airflow 3.3 answers the
listing of asset events with 500 while a run that one of them began is still queued."""
JITTER = 0.5  # of the wait, so that several monitors do not come back together

Recoverable = (AirflowError, IngestBusy, SQLAlchemyError)
RESULTS: dict[type[Exception], str] = {AirflowUnreachable: "unreachable", AirflowRefused: "refused"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReconcilerStatus:
    """How the comparison goes, for /health and the dashboard."""

    deployment: str
    last_good: datetime | None
    """When Airflow was last compared with the log in full."""
    last_error: str | None
    """Why it is not at the moment; None while it is."""
    watermark: datetime | None
    """Everything that Airflow changed before this moment is in the log."""


class Reconciler:
    """Keeps the log complete for one Airflow. `run()` is its background task."""

    def __init__(
        self,
        api: AirflowApi,
        database: Database,
        ingest: Ingest,
        wake: Wake,
        metrics: Metrics,
        clock: Clock,
        interval: float,
        max_rows: int = MAX_ROWS,
    ) -> None:
        """`interval` in seconds; `max_rows` of a listing are compared in one step."""
        self._api = api
        self._comparison = Comparison(api, database, ingest, metrics, clock, max_rows)
        self._wake = wake
        self._seen = wake.count
        self._metrics = metrics
        self._clock = clock
        self._interval = interval
        self._failures = 0
        self._useful = False
        self._behind = False
        self._last_good: datetime | None = None
        self._last_error: str | None = None
        self._failing_since: datetime | None = None
        self._passing = False

    @property
    def status(self) -> ReconcilerStatus:
        error = None if self._tolerated() else self._last_error
        return ReconcilerStatus(self._api.deployment, self._last_good, error, self._watermark)

    def _tolerated(self) -> bool:
        since = self._failing_since
        return self._passing and since is not None and self._clock() - since < TOLERATED

    @property
    def _watermark(self) -> datetime | None:
        marks = self._comparison.marks
        if ORIGIN not in marks:
            return None
        return min(marks.get(listing.name, marks[ORIGIN]) for listing in LISTINGS)

    async def run(self) -> None:
        """Compare until cancelled."""
        now = asyncio.get_running_loop().time
        # Not at once: after a stop, what the listeners have kept comes first, and it holds the errors' text.
        next_poll = now() + self._interval
        looks: list[float] = []
        while True:
            if now() >= next_poll:
                next_poll = now() + await self.poll()
            elif looks and now() >= looks[0]:
                looks = looks[1:] if await self.look_at_assets() else []
            nudged = await self._wake.wait(self._seen, max(0.0, min([next_poll, *looks]) - now()))
            self._seen = self._wake.count
            if nudged:
                looks = sorted({*looks[:1], *(now() + after for after in NUDGE_LOOKS)})

    async def poll(self) -> float:
        """Compare everything once; answers after how many seconds to do it again."""
        self._useful = False
        await self._attempt(self._compare_all)
        if not self._useful:
            return self._back_off()
        return 0.0 if self._behind else self._interval

    async def look_at_assets(self) -> bool:
        """Compare asset events only; False where Airflow could not be asked."""
        return await self._attempt(self._compare_assets)

    async def _compare_all(self) -> None:
        trouble: AirflowError | None = None
        self._behind = False
        for listing in LISTINGS:
            try:
                self._behind |= await self._comparison.catch_up(listing)
                self._useful = True
            except AirflowError as error:
                if isinstance(error, AirflowUnreachable) and not self._useful:
                    raise  # nobody is there: do not wait for that three times
                trouble = trouble or error  # this user may not read assets, say; the others are compared
        if trouble:
            raise trouble
        self._last_good = self._clock()

    async def _compare_assets(self) -> None:
        await self._comparison.catch_up(ASSETS)

    async def _attempt(self, work: Callable[[], Awaitable[None]]) -> bool:
        deployment = self._api.deployment
        result = "ok"
        try:
            await self._comparison.load()
            await work()
        except Recoverable as error:
            result = next((name for kind, name in RESULTS.items() if isinstance(error, kind)), "error")
            self._passing = self._useful and isinstance(error, AirflowUnreachable)
            self._failed(str(error) or type(error).__name__)
        else:
            self._succeeded()
        self._metrics.reconcile_polls.labels(deployment, result).inc()
        if self._watermark:
            lag = (self._clock() - self._watermark).total_seconds()
            self._metrics.reconcile_lag.labels(deployment).set(max(0.0, lag))
        return result == "ok"

    def _failed(self, reason: str) -> None:
        self._failures += 1
        if self._last_error is None:  # once a change, not once a look
            logger.warning("%s is not compared with the log in full: %s", self._api.deployment, reason)
            self._failing_since = self._clock()
        self._last_error = reason

    def _succeeded(self) -> None:
        if self._last_error is not None:
            logger.info("%s is compared with the log again", self._api.deployment)
        self._failures = 0
        self._last_error = self._failing_since = None

    def _back_off(self) -> float:
        wait = min(MAX_BACK_OFF, self._interval * 2.0 ** (self._failures - 1))
        return wait * random.uniform(1 - JITTER, 1)  # noqa: S311 (spreads load, keeps no secret)
