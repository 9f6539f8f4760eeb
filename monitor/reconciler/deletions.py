"""The snapshot of deleted runs and DAGs, which no hook and no listing shows.

The snapshot asks for single runs: those that the log has as running and Airflow does not list as active. It
also asks for the runs of open incidents. Only Airflow's answer that it does not know this very run counts. A
listing also lacks the runs that the monitor's user may no longer read.

A deleted run is reported (`airflow.dag_run.deleted`). An incident is closed with the reason if all its runs,
or its DAG, are deleted. Neither causes a notification."""

import logging
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection

from monitor.airflow.client import AirflowApi
from monitor.clock import Clock
from monitor.database.engine import Database
from monitor.database.statements import Row
from monitor.errors import AirflowError, AirflowNotFound, AirflowUnreachable
from monitor.event_log import read
from monitor.event_log.filters import Filter
from monitor.event_log.ingest import Ingest
from monitor.event_log.projections import dags as dags_projection
from monitor.event_log.projections import runs as runs_projection
from monitor.event_log.projections.runs import RunName
from monitor.events.data import DELETED
from monitor.events.from_airflow import run_deleted_event
from monitor.notifications import incident_signals, incident_transitions, incidents
from monitor.notifications.incidents import Incident
from monitor.observability.metrics import Metrics
from monitor.reconciler.reporting import SnapshotReporter, find_settled

MAX_RUNS = 2_000  # that are running, in the read model and in Airflow. Of more, the oldest are looked at
MAX_ASKED = 50  # runs and DAGs at one look, a request each
ASK_AGAIN = timedelta(minutes=2)  # about a run or DAG that was there
MAX_KEPT = 10_000  # of which that is remembered
MAX_INCIDENTS = 1_000  # open ones that are looked at
MAX_FAILURES = 200  # of an incident that are read back: one that has more is not closed for this

Name = tuple[str, ...]
"""A DAG, or a DAG and its run."""

logger = logging.getLogger(__name__)


class Deletions:
    """The snapshot of deleted runs and DAGs."""

    name = "deletions"
    every = timedelta(seconds=60)

    def __init__(
        self, api: AirflowApi, database: Database, ingest: Ingest, metrics: Metrics, clock: Clock
    ) -> None:
        self._api = api
        self._database = database
        self._clock = clock
        self._reporter = SnapshotReporter(self.name, api.deployment, ingest, metrics)
        self._there: dict[Name, datetime] = {}
        """The moment at which each was last known to exist."""
        self._gone: set[Name] = set()
        self._requests = 0

    async def is_wanted(self) -> bool:
        """Return False: deletions wait for their time."""
        return False

    async def compare(self) -> None:
        """Report the deleted runs and close their incidents.
        Raises AirflowError, IngestBusy and SQLAlchemyError."""
        self._requests, self._gone = 0, set()
        await self._look_at_runs()
        await self._look_at_incidents()

    async def _look_at_runs(self) -> None:
        deployment, now = self._api.deployment, self._clock()
        rows = await self._database.read(lambda connection: _running(connection, deployment, now))
        active = await self._active() if rows else set()
        suspects = [row for row in rows if (row["dag_id"], row["run_id"]) not in active]
        await self._report([row for row in suspects if await self._is_gone(row["dag_id"], row["run_id"])])

    async def _report(self, gone: Iterable[Row]) -> None:
        deployment, now = self._api.deployment, self._clock()
        await self._reporter.report([run_deleted_event(deployment, row, now) for row in gone])

    async def _active(self) -> set[Name]:
        found: set[Name] = set()
        for state in ("running", "queued"):
            async with aclosing(self._api.runs_in(state)) as pages:
                async for page in pages:
                    found |= {(str(row.get("dag_id")), str(row.get("dag_run_id"))) for row in page.rows}
                    if len(found) >= MAX_RUNS:
                        break
        return found

    async def _look_at_incidents(self) -> None:
        deployment = self._api.deployment
        open_ones, dags = await self._database.read(
            lambda connection: (
                _list_dag_incidents(connection, deployment),
                dags_projection.load_dags(connection, deployment),
            )
        )
        for incident in open_ones:
            dag_id = str(incident.dag_id)
            is_listed = dag_id not in dags or not dags[dag_id]["is_stale"]
            if not is_listed and await self._is_gone(dag_id):
                await self._close(incident, f"the DAG {dag_id} was deleted from Airflow")
                continue
            runs = await self._database.read(partial(_runs_of, incident=incident))
            if runs and all([await self._is_gone(dag_id, run_id) for run_id in runs]):
                await self._report(await self._database.read(partial(_rows_of, incident=incident, runs=runs)))
                which = f"the run {runs[0]} was" if len(runs) == 1 else f"its {len(runs)} runs were"
                await self._close(incident, f"{which} deleted from Airflow")

    async def _close(self, incident: Incident, reason: str) -> None:
        now = self._clock()
        await self._database.write(
            lambda connection: incident_transitions.close(
                connection, incident.id, now, incident_transitions.BY_SYSTEM, reason
            )
        )
        logger.info("%s: incident %d is closed: %s", self._api.deployment, incident.id, reason)

    async def _is_gone(self, *name: str) -> bool:
        """Return True if Airflow itself says that it does not know this DAG or run.
        Without an answer, the DAG or run counts as existing."""
        if name in self._gone:
            return True
        now, there = self._clock(), self._there.get(name)
        if (there and there <= now < there + ASK_AGAIN) or self._requests >= MAX_ASKED:
            return False
        self._requests += 1
        try:
            await (self._api.dag_run(*name) if len(name) == 2 else self._api.dag(*name))
        except AirflowNotFound:
            self._gone.add(name)
            self._there.pop(name, None)
            return True
        except AirflowUnreachable:
            raise
        except (
            AirflowError
        ) as error:  # about this one alone, as where it may not be read: no word that it is gone
            logger.info("%s: whether %s was deleted is not known: %s", self._api.deployment, name, error)
        if len(self._there) >= MAX_KEPT:
            self._there.clear()
        self._there[name] = now
        return False


def _running(connection: Connection, deployment: str, asked_at: datetime) -> list[Row]:
    """Return the running runs of the read model that have no report from the last moments."""
    rows = {
        f"{row['dag_id']}/{row['run_id']}": row
        for row in runs_projection.running(connection, deployment, MAX_RUNS)
    }
    ripe = find_settled(connection, rows, asked_at)
    return [row for name, row in rows.items() if name in ripe]


def _list_dag_incidents(connection: Connection, deployment: str) -> list[Incident]:
    """Return the open incidents of this Airflow's DAGs."""
    open_ones = incidents.open_ones(connection, 0, MAX_INCIDENTS)
    return [
        incident
        for incident in open_ones
        if incident.deployment == deployment and incident.dag_id is not None
    ]


def _runs_of(connection: Connection, incident: Incident) -> list[str]:
    """Return the runs that an incident is about, newest first, or none if the log does not have them all."""
    last = read.find_by_seqs(connection, [incident.last_seq])
    if not last:
        return []
    event_filter = Filter.from_values(
        deployment=[incident.deployment], dag_id=[str(incident.dag_id)], type=[last[0].type]
    )
    found = read.read_before(connection, incident.last_seq + 1, MAX_FAILURES, event_filter)
    logged = [
        event
        for _, event in read.parse_each(
            logged_event for logged_event in found if logged_event.seq >= incident.opened_seq
        )
    ]
    signals = [(incident_signals.signal_of(event), event.get("run_id")) for event in logged]
    runs = [run_id for signal, run_id in signals if signal and signal.key == incident.key]
    is_whole = len(runs) >= incident.failures and len(logged) < MAX_FAILURES
    return list(dict.fromkeys(map(str, runs))) if is_whole and all(runs) else []


def _rows_of(connection: Connection, incident: Incident, runs: Sequence[str]) -> list[Row]:
    """Return the rows of these runs that the read model does not show as deleted."""
    names = [RunName(incident.deployment, str(incident.dag_id), run_id) for run_id in runs]
    rows = [row for name in names if (row := runs_projection.run(connection, name))]
    return [row for row in rows if row["state"] != DELETED]
