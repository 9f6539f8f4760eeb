"""The snapshot of Airflow's list of DAGs: paused state, tags, owners and schedules.

No hook reports that a DAG was paused. So `DagSnapshot` compares the list with the last reported paused
states. Tags, owners and the next run are kept for the rules and the watches. A DAG that is seen for the
first time is kept without a notification.

`parse_dag_row` reads one row of the list. Its fields have the same names in Airflow 3.0.2, 3.1.8 and 3.3.2.
"""

from collections.abc import Collection, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.airflow.client import AirflowApi
from monitor.clock import Clock
from monitor.database.engine import Database
from monitor.database.statements import Row
from monitor.errors import AirflowNotFound, AirflowRefused, EventError
from monitor.event_log import cursor
from monitor.event_log.ingest import Ingest
from monitor.event_log.projections import dags
from monitor.events.data import storable
from monitor.events.event import Event
from monitor.events.from_airflow import Row as RestRow
from monitor.events.from_airflow import moment_of, pause_event
from monitor.observability.metrics import Metrics
from monitor.reconciler.reporting import SnapshotReporter, find_settled

SCHEDULING = ("schedule", "next_run_after", "is_stale")
"""The columns that decide whether a run is due. `seen_at` is when a change of them, or of the pause, was
last seen. It is null if nothing has changed since the first comparison."""
DESCRIPTION = ("tags", "owners", "is_partitioned")


def parse_dag_row(row: RestRow) -> Row:
    """Return the read model's columns of a row of /dags. Raises EventError."""
    summary = row.get("timetable_summary")
    return {
        "tags": [
            storable(str(tag["name"]))
            for tag in _list(row, "tags")
            if isinstance(tag, dict) and "name" in tag
        ],
        # Airflow keeps owners as one text. 3.0 splits it at commas and leaves the spaces.
        "owners": [name for owner in _list(row, "owners") if (name := storable(str(owner)).strip())],
        "schedule": storable(str(summary)) if summary is not None else None,
        "next_run_after": moment_of(row, "next_dagrun_run_after"),
        "is_stale": row.get("is_stale") is True,
        "is_partitioned": row.get("timetable_partitioned") is True,
    }


def find_changed(
    seen: Mapping[str, Row], paused: Mapping[str, bool], dag_rows: Mapping[str, Row], now: datetime
) -> dict[str, Row]:
    """Return the new rows of the known DAGs that the list shows changed."""
    found: dict[str, Row] = {}
    for dag_id, new in seen.items():
        old = dag_rows.get(dag_id)
        if old is None:
            continue
        flipped = paused.get(dag_id, old["is_paused"]) != old["is_paused"]
        rescheduled = flipped or _differ(SCHEDULING, new, old)
        if rescheduled or _differ(DESCRIPTION, new, old):
            is_first = old["is_stale"] is None  # known of events, or from before this was kept
            found[dag_id] = new | {"seen_at": now if rescheduled and not is_first else old["seen_at"]}
    return found


def find_gone(listed_ids: Collection[str], dag_rows: Mapping[str, Row], now: datetime) -> dict[str, Row]:
    """Return the new rows of the known DAGs that the list lacks.
    They are deleted, or hidden from the monitor's user."""
    return {
        dag_id: old | {"is_stale": True, "next_run_after": None, "seen_at": now}
        for dag_id, old in dag_rows.items()
        if dag_id not in listed_ids and not (old["is_stale"] and old["next_run_after"] is None)
    }


def _differ(names: tuple[str, ...], new: Row, old: Row) -> bool:
    return any(new[name] != old[name] for name in names)


def _list(row: RestRow, name: str) -> list[object]:
    value = row.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise EventError(f"{name}: {str(value)[:80]!r} of the DAG {row.get('dag_id')!r} is not a list")
    return value


HIDDEN = "it is empty, although Airflow has DAGs: give the monitor's user a role such as Viewer"
MAX_STRANGERS = 1_000  # DAGs that were looked for early and not found, so that none is looked for again


class DagSnapshot:
    """The snapshot of GET /dags."""

    name = "dags"
    every = timedelta(seconds=60)
    """The time between two comparisons. A page of 100 DAGs takes Airflow 20 to 50 ms (3.3.2, 3.0.2; SQLite).
    So a thousand DAGs cost it less than a hundredth of its time, and people pause DAGs a few times a day."""

    def __init__(
        self, api: AirflowApi, database: Database, ingest: Ingest, metrics: Metrics, clock: Clock
    ) -> None:
        self._api = api
        self._database = database
        self._clock = clock
        self._reporter = SnapshotReporter(self.name, api.deployment, ingest, metrics)
        self._seq: int | None = None
        self._looked_for: set[str] = set()

    async def is_wanted(self) -> bool:
        """Return True if a run was reported of a DAG that the read model lacks.
        The rules need that DAG's tags and owners before the next regular comparison."""
        if self._seq is None:
            return False
        seq, deployment = self._seq, self._api.deployment
        self._seq, found = await self._database.read(
            lambda connection: (
                cursor.state(connection).last_seq,
                dags.strangers(connection, deployment, seq, MAX_STRANGERS),
            )
        )
        new = found - self._looked_for
        self._looked_for = new if len(self._looked_for) > MAX_STRANGERS else self._looked_for | new
        return bool(new)

    async def compare(self) -> None:
        """Report which DAGs were paused and unpaused. Raises AirflowError, IngestBusy and SQLAlchemyError."""
        asked_at = self._clock()
        async with aclosing(self._api.dags()) as pages:
            listed_pages = [page async for page in pages]
        rows = [row for page in listed_pages for row in page.rows]
        is_whole = not any(page.passed_over for page in listed_pages)
        seen, paused = self._sort(rows)
        deployment = self._api.deployment
        dag_rows = await self._database.read(lambda connection: dags.load_dags(connection, deployment))
        if not rows and is_whole and await self._sees_nothing(dag_rows):
            self._reporter.pass_over({"the listing": HIDDEN})
            return
        # A row that was too much to read may be that of any DAG that the list lacks.
        lacking = find_gone({str(row.get("dag_id")) for row in rows}, dag_rows, asked_at) if is_whole else {}
        await self._keep(seen, paused, dag_rows, lacking, asked_at)
        flipped = {
            dag_id: dag_rows[dag_id]
            for dag_id, is_paused in paused.items()
            if dag_id in dag_rows and dag_rows[dag_id]["is_paused"] != is_paused
        }
        await self._reporter.report(
            await self._database.read(lambda connection: self._changes(connection, flipped, asked_at))
        )

    async def _sees_nothing(self, dag_rows: Mapping[str, RestRow]) -> bool:
        """Return True if the list is empty although DAGs exist: Airflow shows a user what they may read."""
        listed = next((dag_id for dag_id, row in dag_rows.items() if not row["is_stale"]), None)
        if listed is None:
            return False
        try:
            await self._api.dag(listed)
        except AirflowNotFound:
            return False
        except AirflowRefused:
            return True
        return True

    async def _keep(
        self,
        seen: dict[str, RestRow],
        paused: dict[str, bool],
        dag_rows: dict[str, RestRow],
        lacking: dict[str, RestRow],
        asked_at: datetime,
    ) -> None:
        """Write all changed rows at once, or nothing if no row changed."""
        deployment = self._api.deployment
        new = {
            dag_id: seen[dag_id] | {"is_paused": is_paused, "seen_at": asked_at if dag_rows else None}
            for dag_id, is_paused in paused.items()
            if dag_id not in dag_rows
        }
        other = find_changed(seen, paused, dag_rows, asked_at) | lacking

        def keep(connection: Connection) -> None:
            dags.see_dags(connection, deployment, new)
            dags.update_dags(connection, deployment, other)

        if new or other:
            await self._database.write(keep)
        if self._seq is None:
            self._seq = (await self._database.read(cursor.state)).last_seq

    def _sort(self, rows: list[RestRow]) -> tuple[dict[str, RestRow], dict[str, bool]]:
        """Return each DAG's row, and whether the DAG is paused.
        A stale DAG has disappeared from its file, which is no pause."""
        seen: dict[str, RestRow] = {}
        paused: dict[str, bool] = {}
        passed: dict[str, str] = {}
        for row in rows:
            try:
                event = pause_event(self._api.deployment, row, self._clock())
                seen[event.get("dag_id")] = parse_dag_row(row)
            except EventError as error:
                passed[str(row.get("dag_id"))] = str(error)
                continue
            if row.get("is_stale") is not True:
                paused[event.get("dag_id")] = event.get("state") == "paused"
        self._reporter.pass_over(passed)
        return seen, paused

    def _changes(
        self, connection: Connection, changed: dict[str, RestRow], asked_at: datetime
    ) -> list[Event]:
        settled = find_settled(connection, changed, asked_at)
        return [self._build_pause_event(dag_id, row) for dag_id, row in changed.items() if dag_id in settled]

    def _build_pause_event(self, dag_id: str, dag_row: RestRow) -> Event:
        is_paused = not dag_row["is_paused"]
        times: int = dag_row["times_paused" if is_paused else "times_unpaused"]
        row = {"dag_id": dag_id, "is_paused": is_paused}
        return pause_event(self._api.deployment, row, self._clock(), times + 1)
