"""The loop of the reconciler, its snapshots, and the handle through which the monitor uses it.

`Reconciler` compares every few seconds, and at once when the listener reports an update of an asset. Odd on
purpose: a hook of an asset fires before Airflow commits. So the loop asks Airflow several times within a few
seconds after such a nudge. It does not stop at the first new update, because one nudge may stand for many
assets.

`snapshots` makes the snapshots of one Airflow. `ReconcilerHandle` answers for the comparison, whichever
replica makes it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from opentelemetry.trace import StatusCode
from sqlalchemy.exc import SQLAlchemyError

from monitor.airflow.client import AirflowApi
from monitor.clock import Clock
from monitor.concurrency import WakeSignal, first_of
from monitor.database.engine import Database
from monitor.errors import AirflowError, AirflowUnreachable
from monitor.event_log.ingest import Ingest
from monitor.event_log.ingest_queue import IngestBusy
from monitor.observability import logging as observability_logging
from monitor.observability.metrics import Metrics
from monitor.observability.tracing import OFF, Traces
from monitor.reconciler import status as reconciler_status
from monitor.reconciler.backfills import Backfills
from monitor.reconciler.comparison import MAX_ROWS, PAST, Comparison
from monitor.reconciler.dags import DagSnapshot
from monitor.reconciler.deletions import Deletions
from monitor.reconciler.ended_runs import EndedRuns
from monitor.reconciler.gap_filling import GapFiller
from monitor.reconciler.import_errors import ImportErrors
from monitor.reconciler.listings import ASSETS, LISTINGS, TASKS
from monitor.reconciler.status import Defects, ReconcilerHealth, ReconcilerStatus
from monitor.reconciler.task_tries import EarlierTries


class Snapshot(Protocol):
    """A listing of the present state, which is compared with the last reports in the log."""

    name: str
    every: timedelta

    async def is_wanted(self) -> bool:
        """Return True if the listing is to be compared at once, before its time. Raises SQLAlchemyError."""
        ...

    async def compare(self) -> None:
        """Report the changes. Raises AirflowError, IngestBusy and SQLAlchemyError."""
        ...


def snapshots(
    api: AirflowApi, database: Database, ingest: Ingest, metrics: Metrics, clock: Clock
) -> list[Snapshot]:
    """Return every snapshot of one Airflow."""
    kinds = (ImportErrors, DagSnapshot, Deletions, Backfills)
    return [kind(api, database, ingest, metrics, clock) for kind in kinds]


NUDGE_LOOKS = (0.1, 0.4, 1.0, 2.0, 4.0, 7.0)  # seconds after a nudge. The last is past CREATED_RUNS_WAIT
GIVEN_UP_AFTER = 2  # parts without an answer: Airflow is away. One alone may be a row that Airflow fails at
USUAL_INTERVAL = 15.0  # seconds: with a shorter interval, snapshots are compared more often too
FIRST_LOOK_BACK = timedelta(hours=24)

logger = logging.getLogger(__name__)

Recoverable = (AirflowError, IngestBusy, SQLAlchemyError)
Step = Callable[[], Awaitable[bool]]
"""A part of a comparison. True: go on at once."""


class Reconciler:
    """The reconciler, which keeps the log complete for one Airflow. `run()` is its background task."""

    def __init__(
        self,
        api: AirflowApi,
        database: Database,
        ingest: Ingest,
        wake: WakeSignal,
        metrics: Metrics,
        clock: Clock,
        interval: float,
        *,
        first_look_back: timedelta = FIRST_LOOK_BACK,
        retention: timedelta | None = None,
        snapshots: Sequence[Snapshot] = (),
        max_rows: int = MAX_ROWS,
        traces: Traces = OFF,
        run_ended: WakeSignal | None = None,
    ) -> None:
        """Set up the reconciler of one deployment.

        `interval` is in seconds. `wake` is for this deployment's nudges. `first_look_back` is how much of
        the past a first start logs. What is older than `retention` is not logged, and None means that the
        log keeps everything. At most `max_rows` of a listing are compared in one step. `run_ended` is woken
        when the log has a run's end."""
        earlier_tries = EarlierTries(api, database, ingest, metrics, clock, retention)
        backfill = GapFiller(api.deployment, database, ingest, metrics, clock, retention, earlier_tries)
        compared = partial(Comparison, api, database, backfill, metrics, clock, max_rows)
        self._present: Comparison = compared()
        self._past: Comparison = compared(first_look_back)
        self._ended_runs = EndedRuns(
            api=api,
            database=database,
            gap_filler=backfill,
            wake=run_ended or WakeSignal(),
            metrics=metrics,
            clock=clock,
            glance=partial(self._present.glance, TASKS),
        )
        self._snapshots = snapshots
        self._snapped: dict[str, datetime] = {}
        self._wake = wake
        self._seen = wake.count
        self._database = database
        self._metrics = metrics
        self._traces = traces
        self._clock = clock
        self._interval = interval
        self._deployment = api.deployment
        self._health = ReconcilerHealth(api.deployment, clock)
        self._defects = Defects(api.deployment, metrics)
        self._resumed = False
        self._useful = False
        self._behind = False

    @property
    def status(self) -> ReconcilerStatus:
        """The state of the comparison."""
        marks = {listing.name: self._present.watermark(listing) for listing in LISTINGS}
        return self._health.status({name: mark for name, mark in marks.items() if mark})

    async def run(self) -> None:
        """Compare until canceled."""
        observability_logging.bind(deployment=self._deployment)
        # Side by side: what ended just now does not wait for a poll that takes long.
        await first_of(self._poll_for_ever(), self._ended_runs.run())

    async def _poll_for_ever(self) -> None:
        now = asyncio.get_running_loop().time
        # Not at once: after a stop, what the listeners have kept comes first, and it holds the errors' text.
        next_poll = now() + self._interval
        looks: list[float] = []
        while True:
            if now() >= next_poll:
                next_poll = now() + await self.poll()
            elif looks and now() >= looks[0]:
                looked = await self.look_at_assets()
                free = now() + self._present.pace(ASSETS).pause.total_seconds()
                looks = sorted({max(free, look_at) for look_at in looks[1:]}) if looked else []
            nudged = await self._wake.wait(self._seen, max(0.0, min([next_poll, *looks]) - now()))
            self._seen = self._wake.count
            if nudged:
                looks = sorted({*looks[:1], *(now() + after for after in NUDGE_LOOKS)})

    async def poll(self) -> float:
        """Compare everything that is due. Return the seconds until the next poll."""
        began = asyncio.get_running_loop().time()
        self._useful = False
        with self._traces.span("compare with Airflow", deployment=self._deployment) as span:
            if not await self._attempt(self._compare_all):
                span.set_status(StatusCode.ERROR, self.status.last_error or "not compared in full")
        await self._share()
        spent = asyncio.get_running_loop().time() - began
        self._metrics.reconcile_poll.labels(self._deployment).observe(spent)
        if not self._useful:
            return self._health.back_off(self._interval)
        return 0.0 if self._behind else self._interval

    async def look_at_assets(self) -> bool:
        """Compare asset events and what else is wanted at once.
        Return False if Airflow could not be asked."""
        return await self._attempt(self._compare_assets)

    async def _compare_all(self) -> None:
        self._behind = False
        for snapshot in await self._list_wanted():
            self._snapped.pop(snapshot.name, None)
        parts, unanswered = self._health.parts, 0
        for name, step in self._steps():
            try:
                self._behind |= await step()
            except (IngestBusy, SQLAlchemyError):  # the monitor's own trouble, whatever is compared
                raise
            except Exception as error:
                # This user may not read assets, say. The other parts are compared.
                parts[name] = error if isinstance(error, AirflowError) else self._defects.record(name, error)
                unanswered += isinstance(error, AirflowUnreachable)
                if unanswered == GIVEN_UP_AFTER and not self._useful:
                    raise
            else:
                parts.pop(name, None)
                self._useful = True
        self._useful |= not parts
        if parts:
            raise next(iter(parts.values()))
        self._health.complete()

    def _steps(self) -> Iterator[tuple[str, Step]]:
        """Yield the steps that are due: the present first, then the snapshots, and some of the past."""
        for listing in LISTINGS:
            if self._present.is_due(listing):
                yield listing.name, partial(self._present.catch_up, listing)
        for snapshot in self._snapshots:
            if self._is_due(snapshot):
                yield snapshot.name, partial(self._compare_snapshot, snapshot)
        for listing in LISTINGS:
            if self._past.is_due(listing):
                yield PAST + listing.name, partial(self._go_into_the_past, listing.name)

    async def _list_wanted(self) -> list[Snapshot]:
        """Return the snapshots that are not to wait for their time."""
        return [snapshot for snapshot in self._snapshots if await snapshot.is_wanted()]

    def _is_due(self, snapshot: Snapshot) -> bool:
        last = self._snapped.get(snapshot.name)
        pause = snapshot.every * min(1.0, self._interval / USUAL_INTERVAL)
        return last is None or not last <= self._clock() < last + pause

    async def _compare_snapshot(self, snapshot: Snapshot) -> bool:
        self._snapped[snapshot.name] = self._clock()
        try:
            await snapshot.compare()
        except AirflowUnreachable:
            del self._snapped[snapshot.name]  # there was no answer: it is due again at the next poll
            raise
        return False

    async def _go_into_the_past(self, name: str) -> bool:
        """Compare one step of the past and return False.
        A poll makes one such step, so that the present waits for nothing that is over."""
        await self._past.catch_up(next(listing for listing in LISTINGS if listing.name == name))
        return False

    async def _compare_assets(self) -> None:
        await self._present.catch_up(ASSETS)
        self._health.parts.pop(ASSETS.name, None)
        for snapshot in await self._list_wanted():
            await self._compare_snapshot(snapshot)

    async def _attempt(self, work: Callable[[], Awaitable[None]]) -> bool:
        result = "ok"
        try:
            await self._present.load()
            await self._past.load()
            await self._resume()
            await work()
        except Recoverable as error:
            result = self._health.record_failure(error, self._useful)
        except Exception as error:  # noqa: BLE001 (a defect is logged with its traceback)
            result = self._health.record_failure(self._defects.record("the comparison", error), self._useful)
        else:
            self._health.record_success()
        self._metrics.reconcile_polls.labels(self._deployment, result).inc()
        self._show_progress()
        return result == "ok"

    async def _resume(self) -> None:
        """Take over the last leader's status, once.
        So the time of Airflow's silence does not begin anew with a new leader."""
        if not self._resumed:
            now, deployment = self._clock(), self._deployment
            status = await self._database.read(
                lambda connection: reconciler_status.load_status(connection, deployment, now)
            )
            self._health.resume(status)
            self._resumed = True

    async def _share(self) -> None:
        """Save the status for the other replicas."""
        status, now = self.status, self._clock()
        try:
            await self._database.write(
                lambda connection: reconciler_status.save_status(connection, status, now)
            )
        except SQLAlchemyError as error:  # the next look saves it, and the database's trouble shows elsewhere
            logger.warning("%s: how it stands could not be kept: %s", self._deployment, error)

    def _show_progress(self) -> None:
        for listing in LISTINGS:
            mark = self._present.watermark(listing)
            if mark:
                lag = (self._clock() - mark).total_seconds()
                self._metrics.reconcile_lag.labels(self._deployment, listing.name).set(max(0.0, lag))
            pause = max(self._interval, self._present.pace(listing).pause.total_seconds())
            self._metrics.reconcile_interval.labels(self._deployment, listing.name).set(pause)


class ReconcilerHandle:
    """The handle of one deployment's reconciler. `run()` lasts for one term as the leader."""

    def __init__(
        self,
        deployment: str,
        make: Callable[[], Reconciler],
        database: Database,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        """Keep `make`, which returns a reconciler without memory.
        What the last reconciler knew is outdated, because other replicas have moved the watermarks since."""
        self.deployment = deployment
        self._make = make
        self._database = database
        self._metrics = metrics
        self._clock = clock
        self._reconciler: Reconciler | None = None

    @property
    def is_local(self) -> bool:
        """True if this replica's reconciler works."""
        return self._reconciler is not None

    def silent_since(self) -> datetime | None:
        """Return since when Airflow does not answer this replica.
        None means that Airflow answers, or that another replica asks."""
        return self._reconciler.status.silent_since if self._reconciler else None

    async def run(self) -> None:
        """Compare until canceled."""
        self._reconciler = self._make()
        try:
            await self._reconciler.run()
        finally:
            self._reconciler = None
            self._show_nothing()

    async def status(self) -> ReconcilerStatus:
        """Return the status of the comparison, whichever replica makes it. Raises SQLAlchemyError."""
        if self._reconciler is not None:
            return self._reconciler.status
        now = self._clock()
        return await self._database.read(
            lambda connection: reconciler_status.load_status(connection, self.deployment, now)
        )

    def _show_nothing(self) -> None:
        """Remove the gauges. A gauge that stands still would be taken for the present value."""
        for listing in LISTINGS:
            for gauge in (self._metrics.reconcile_lag, self._metrics.reconcile_interval):
                gauge.labels(self.deployment, listing.name)  # to remove what is not there is an error
                gauge.remove(self.deployment, listing.name)
