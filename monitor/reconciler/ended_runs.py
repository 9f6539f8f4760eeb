"""The comparison of a run's tasks as soon as the run's end is reported, before the next poll.

Hooks do not report every end of a task, and a run's hook fires before Airflow commits. So a run is compared
several times within a few seconds, until all its tasks have ended.

The log says which runs ended. So the replica that compares reads the runs that any replica logged, and a
lost signal costs one poll.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from monitor.airflow.client import AirflowApi
from monitor.clock import Clock
from monitor.concurrency import WakeSignal
from monitor.database.engine import Database
from monitor.errors import AirflowError, AirflowNotFound, AirflowUnaddressable
from monitor.event_log import cursor, read
from monitor.event_log.filters import Filter
from monitor.event_log.ingest_queue import IngestBusy
from monitor.event_log.read import EventLogPage
from monitor.events.data import RUN_ENDS, DagRunData
from monitor.observability.metrics import Metrics
from monitor.reconciler.gap_filling import GapFiller
from monitor.reconciler.listings import ENDED_RUN, FRESH, RECENT, RateLimiter
from monitor.reconciler.status import Defects
from monitor.reconciler.task_tries import TASK_ENDS

LOOKS = (0.1, 0.5, 1.2, 2.4, 5.0)
"""Seconds after a run's end is in the log: Airflow commits what its hook reports within one loop of the
scheduler. What none of them sees is left to the next poll."""
APART = 0.25  # seconds from one look to the next at the least: four requests of a few milliseconds a second
MAX_ALONE = 4  # runs that one look asks for one by one. If more ended together, one listing shows them all
MAX_WAITING = 1_000  # runs: what ends beyond them meanwhile is left to the next poll
MAX_ROWS = 2_000  # of one run: what a larger one has beyond them is left to the next poll
MAX_AGE = timedelta(minutes=10)
"""An end from before that comes out of a spool or of the first start's past: polls catch up with those."""
IDLE_SECONDS = 3600.0  # without anything to look at: a report wakes

logger = logging.getLogger(__name__)

Recoverable = (AirflowError, IngestBusy, SQLAlchemyError)


@dataclass
class EndedRun:
    """A run that is to be looked at."""

    dag_id: str
    run_id: str
    run_after: datetime | None
    reported: float
    """The moment of the report by the event loop's clock."""
    looks: int = 0

    @property
    def due(self) -> float:
        """The moment of the next look at the run's tasks."""
        return self.reported + LOOKS[self.looks]

    def is_recent(self, now: datetime) -> bool:
        """Return True if the listing of recent runs shows it."""
        return self.run_after is None or self.run_after > now - RECENT


class EndedRuns:
    """The ended runs of one deployment, whose tasks are compared.
    `run()` is its background task.

    `glance` compares all that changed of recent runs since the last poll."""

    def __init__(
        self,
        api: AirflowApi,
        database: Database,
        gap_filler: GapFiller,
        wake: WakeSignal,
        metrics: Metrics,
        clock: Clock,
        glance: Callable[[], Awaitable[None]],
    ) -> None:
        self._api = api
        self._database = database
        self._gap_filler = gap_filler
        self._wake = wake
        self._metrics = metrics
        self._clock = clock
        self._glance = glance
        self._seen = wake.count
        self._seq: int | None = None
        self._waiting: OrderedDict[tuple[str, str], EndedRun] = OrderedDict()
        self._limiter = RateLimiter(FRESH)
        self._free = 0.0
        self._failing = False
        self._defects = Defects(api.deployment, metrics)

    async def run(self) -> None:
        """Look until canceled."""
        now = asyncio.get_running_loop().time
        await self._attempt(self._read_log)
        while True:
            following = min((run.due for run in self._waiting.values()), default=now() + IDLE_SECONDS)
            if await self._wake.wait(self._seen, max(0.0, max(following, self._free) - now())):
                self._seen = self._wake.count
                await self._attempt(self._read_log)
            elif self._waiting:
                await self._look(now())
                self._free = now() + max(APART, self._limiter.pause.total_seconds())

    async def _read_log(self) -> None:
        """Take up the runs that ended since the last time. The first time takes up none."""
        deployment, after = self._api.deployment, self._seq
        if after is None:
            self._seq = (await self._database.read(cursor.state)).last_seq
            return
        page = await self._database.read(lambda connection: _read_ended_runs(connection, deployment, after))
        now, reported = self._clock(), asyncio.get_running_loop().time()
        self._seq = page.upto
        for _, event in read.parse_each(page.events):
            if isinstance(event.data, DagRunData) and event.time > now - MAX_AGE:
                self._take_up(event.data, reported)

    def _take_up(self, data: DagRunData, reported: float) -> None:
        name = data.dag_id, data.run_id
        if len(self._waiting) >= MAX_WAITING and name not in self._waiting:
            self._count("left")
            return
        self._waiting[name] = EndedRun(*name, data.run_after, reported)

    async def _look(self, now: float) -> None:
        due = [run for run in self._waiting.values() if run.due <= now]
        asked_at, began = self._clock(), asyncio.get_running_loop().time()
        recent = [run for run in due if run.is_recent(asked_at)]
        if len(recent) > MAX_ALONE:
            await self._attempt(self._glance)
            for run in recent:
                self._finish_look(run, complete=False)
            due = [run for run in due if run not in recent]
        for run in due[:MAX_ALONE]:
            if not await self._attempt(partial(self._look_at, run)):
                break
        self._limiter.took(asked_at, asyncio.get_running_loop().time() - began)

    async def _look_at(self, run: EndedRun) -> None:
        try:
            complete = await self._compare(run)
        except (AirflowNotFound, AirflowUnaddressable):  # deleted meanwhile, or only the listings show it
            complete = True
        except Exception:
            self._finish_look(run, complete=False)
            raise
        self._finish_look(run, complete)

    async def _compare(self, run: EndedRun) -> bool:
        """Log what the log lacks of a run's tasks. Return True if no more will come."""
        complete, rows, seconds = True, 0, 0.0
        async with aclosing(self._api.tasks_of(run.dag_id, run.run_id)) as pages:
            async for page in pages:
                young = await self._gap_filler.fill(ENDED_RUN, page)
                complete &= not young and all(row.get("state") in TASK_ENDS for row in page.rows)
                rows, seconds = rows + len(page.rows), seconds + page.seconds
                if rows >= MAX_ROWS:
                    break
        self._metrics.reconcile_request.labels(self._api.deployment, ENDED_RUN.name).observe(seconds)
        return complete

    def _finish_look(self, run: EndedRun, complete: bool) -> None:
        run.looks += 1
        if complete or run.looks == len(LOOKS):
            self._waiting.pop((run.dag_id, run.run_id), None)
            self._count("complete" if complete else "left")

    def _count(self, result: str) -> None:
        self._metrics.reconcile_ended_runs.labels(self._api.deployment, result).inc()

    async def _attempt(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Run one part of the work.
        What fails is done by the next poll, which reports the failure for as long as it lasts."""
        try:
            await work()
        except Exception as caught:  # noqa: BLE001 (it is logged with what is foreseen, or as a defect)
            is_foreseen = isinstance(caught, Recoverable)
            error = caught if is_foreseen else self._defects.record("ended_runs", caught)
            if not self._failing:
                logger.warning("%s: ended runs wait for the next poll: %s", self._api.deployment, error)
            self._failing = True
            self._count("failed")
            return False
        self._failing = False
        return True


def _read_ended_runs(connection: Connection, deployment: str, after: int) -> EventLogPage:
    event_filter = Filter.from_values(deployment=(deployment,), type=RUN_ENDS)
    return read.read_after(connection, after, MAX_WAITING, event_filter)
