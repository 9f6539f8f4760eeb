"""Which DAGs are paused: no hook tells, so Airflow's list is compared with what was last told.

How a DAG is when it is seen for the first time is kept and told to nobody.
"""

from contextlib import aclosing
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor import board
from monitor.airflow_api import AirflowApi
from monitor.clock import Clock
from monitor.database import Database
from monitor.errors import EventError
from monitor.events import Event
from monitor.events.rest import Row
from monitor.events.rest_dags import pause_event
from monitor.ingest import Ingest
from monitor.metrics import Metrics
from monitor.reconciler.teller import Teller, settled


class Pauses:
    """The snapshot of GET /dags."""

    name = "dags"
    every = timedelta(seconds=60)
    """A page of 100 DAGs takes Airflow 20 to 50 ms (3.3.2, 3.0.2; SQLite): a thousand DAGs cost it less than
    a hundredth of its time so, and people pause DAGs some times a day."""

    def __init__(
        self, api: AirflowApi, database: Database, ingest: Ingest, metrics: Metrics, clock: Clock
    ) -> None:
        self._api = api
        self._database = database
        self._clock = clock
        self._teller = Teller(self.name, api.deployment, ingest, metrics)

    async def compare(self) -> None:
        """Tell who was paused and unpaused. Raises AirflowError, IngestBusy, SQLAlchemyError."""
        asked = self._clock()
        async with aclosing(self._api.dags()) as pages:
            rows = [row async for page in pages for row in page.rows]
        paused = self._paused(rows)
        deployment = self._api.deployment
        known = await self._database.read(lambda connection: board.known_dags(connection, deployment))
        if new := {dag_id: is_paused for dag_id, is_paused in paused.items() if dag_id not in known}:
            await self._database.write(lambda connection: board.see_dags(connection, deployment, new))
        changed = {
            dag_id: known[dag_id]
            for dag_id, is_paused in paused.items()
            if dag_id in known and known[dag_id]["is_paused"] != is_paused
        }
        await self._teller.tell(
            await self._database.read(lambda connection: self._changes(connection, changed, asked))
        )

    def _paused(self, rows: list[Row]) -> dict[str, bool]:
        """Whether each DAG is paused. One that is stale has disappeared from its file, which is no pause."""
        paused: dict[str, bool] = {}
        passed: dict[str, str] = {}
        for row in rows:
            if row.get("is_stale") is True:
                continue
            try:
                event = pause_event(self._api.deployment, row, self._clock())
            except EventError as error:
                passed[str(row.get("dag_id"))] = str(error)
            else:
                paused[event.get("dag_id")] = event.get("state") == "paused"
        self._teller.pass_over(passed)
        return paused

    def _changes(self, connection: Connection, changed: dict[str, Row], asked: datetime) -> list[Event]:
        ready = settled(connection, changed, asked)
        return [self._changed(dag_id, row) for dag_id, row in changed.items() if dag_id in ready]

    def _changed(self, dag_id: str, known: Row) -> Event:
        is_paused = not known["is_paused"]
        times: int = known["times_paused" if is_paused else "times_unpaused"]
        row = {"dag_id": dag_id, "is_paused": is_paused}
        return pause_event(self._api.deployment, row, self._clock(), times + 1)
