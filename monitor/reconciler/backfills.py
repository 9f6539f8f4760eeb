"""The snapshot of completed backfills, which no hook reports.

Airflow lists backfills for one DAG at a time only. So a DAG is asked for its backfills once one of its
backfill runs has ended, and again until all of them are completed.
"""

from contextlib import aclosing
from datetime import timedelta

from sqlalchemy import Connection

from monitor.airflow.client import AirflowApi
from monitor.clock import Clock
from monitor.database.engine import Database
from monitor.errors import AirflowNotFound, AirflowRefused, EventError
from monitor.event_log import append as log
from monitor.event_log import read
from monitor.event_log.filters import Filter
from monitor.event_log.ingest import Ingest
from monitor.events.data import RUN_ENDS
from monitor.events.event import Event
from monitor.events.from_airflow import (
    BACKFILL,
    Row,
    backfill_completed_event,
    completion_time,
    span_of,
    text_of,
)
from monitor.observability.metrics import Metrics
from monitor.reconciler.reporting import SnapshotReporter

LOOK_BACK = timedelta(hours=24)
"""The age of run ends that are looked through after a start. A backfill that ended earlier is not reported.
"""
MAX_ENDS = 1_000  # read from the log at once
MAX_DAGS = 100  # that are asked for at one look. The others wait for the next


class Backfills:
    """The snapshot of GET /backfills."""

    name = "backfills"
    every = timedelta(seconds=30)  # Airflow itself looks no more often whether one is through

    def __init__(
        self, api: AirflowApi, database: Database, ingest: Ingest, metrics: Metrics, clock: Clock
    ) -> None:
        self._api = api
        self._database = database
        self._clock = clock
        self._reporter = SnapshotReporter(self.name, api.deployment, ingest, metrics)
        self._seq: int | None = None
        self._open: dict[str, None] = {}
        """DAGs that may have a backfill under way, in the order in which that was seen."""

    async def is_wanted(self) -> bool:
        """Return False: backfills wait for their time."""
        return False

    async def compare(self) -> None:
        """Report the completed backfills. Raises AirflowError, IngestBusy, SQLAlchemyError."""
        for dag_id in await self._database.read(self._find_ended_dags):
            self._open.setdefault(dag_id)
        passed: dict[str, str] = {}
        for dag_id in list(self._open)[:MAX_DAGS]:
            del self._open[dag_id]  # and behind the others, if it is to be asked for again
            try:
                is_open = await self._compare(dag_id)
            except (AirflowRefused, AirflowNotFound, EventError) as error:
                passed[dag_id] = str(error)
                continue
            except Exception:
                self._open[dag_id] = None
                raise
            if is_open:
                self._open[dag_id] = None
        self._reporter.pass_over(passed)

    def _find_ended_dags(self, connection: Connection) -> list[str]:
        """Return the DAGs for which a backfill's run has ended since the last look."""
        after = self._seq
        if after is None:
            after = read.seq_at(connection, self._clock() - LOOK_BACK)
        event_filter = Filter.from_values(deployment=(self._api.deployment,), type=RUN_ENDS)
        found: list[str] = []
        while True:
            page = read.read_after(connection, after, MAX_ENDS, event_filter)
            ended = (event for _, event in read.parse_each(page.events))
            found += [str(event.dag_id) for event in ended if event.get("run_type") == BACKFILL]
            self._seq = after = page.upto
            if len(page.events) < MAX_ENDS:
                return found

    async def _compare(self, dag_id: str) -> bool:
        """Report the completed backfills of a DAG.
        Return True if one is not completed. Raises EventError too."""
        async with aclosing(self._api.backfills(dag_id)) as pages:
            rows = [row async for page in pages for row in page.rows]
        since = self._clock() - LOOK_BACK
        through = [row for row in rows if (moment := completion_time(row)) and moment >= since]
        events = [await self._build_completed_event(row) for row in through]
        lacking = await self._database.read(lambda connection: log.lacking(connection, events))
        await self._reporter.report([event for event in events if event.id in lacking])
        return any(completion_time(row) is None for row in rows)

    async def _build_completed_event(self, row: Row) -> Event:
        async with aclosing(self._api.runs_dated(text_of(row, "dag_id"), *span_of(row))) as pages:
            runs = [run async for page in pages for run in page.rows]
        return backfill_completed_event(self._api.deployment, row, runs)
