"""The snapshot of Airflow's import errors.

Airflow lists the errors that exist. An error that is no longer listed is mended, or its file is gone. An
error that comes back with the same trace has an id that the log already has. So it is reported under the
next number.
"""

from collections.abc import Mapping
from contextlib import aclosing
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.airflow.client import AirflowApi
from monitor.clock import Clock
from monitor.database.engine import Database
from monitor.errors import AirflowRefused, EventError
from monitor.event_log import append
from monitor.event_log.ingest import Ingest
from monitor.event_log.projections import dags as dags_projection
from monitor.event_log.projections import import_errors
from monitor.event_log.projections.import_errors import BundleFile
from monitor.events.event import Event
from monitor.events.from_airflow import (
    Row,
    error_id_of,
    import_error_event,
    import_error_mended_event,
    is_redacted,
)
from monitor.events.identity import trace_of_error
from monitor.notifications import incident_transitions
from monitor.observability.metrics import Metrics
from monitor.reconciler.dags import HIDDEN
from monitor.reconciler.reporting import SnapshotReporter, find_settled

REDACTED = "its trace is hidden from the monitor's user, who may not read every DAG of the file"


class ImportErrors:
    """The snapshot of GET /importErrors."""

    name = "import_errors"
    every = timedelta(seconds=30)  # Airflow itself parses a file no more often, unless it is configured to

    def __init__(
        self, api: AirflowApi, database: Database, ingest: Ingest, metrics: Metrics, clock: Clock
    ) -> None:
        self._api = api
        self._database = database
        self._clock = clock
        self._reporter = SnapshotReporter(self.name, api.deployment, ingest, metrics)

    async def is_wanted(self) -> bool:
        """Return False: import errors wait for their time."""
        return False

    async def compare(self) -> None:
        """Report new and mended import errors. Raises AirflowError, IngestBusy and SQLAlchemyError."""
        asked_at = self._clock()
        try:
            async with aclosing(self._api.import_errors()) as pages:
                listed_pages = [page async for page in pages]
        except AirflowRefused as refused:  # it holds up nothing else: said once, and asked again
            self._reporter.pass_over({"the listing": str(refused)})
            return
        rows = [row for page in listed_pages for row in page.rows]
        is_whole = not any(page.passed_over for page in listed_pages)
        if not rows and is_whole and await self._sees_nothing():
            self._reporter.pass_over({"the listing": HIDDEN})
            return
        rows_by_id, hidden = self._sort(rows)
        error_rows = await self._database.read(
            lambda connection: import_errors.find_import_errors(connection, self._api.deployment, rows_by_id)
        )
        listed = by_first_id(rows_by_id, error_rows)
        if places := _places(listed, error_rows):
            await self._database.write(lambda connection: self._locate(connection, error_rows, places))
        await self._reporter.report(
            await self._database.read(
                lambda connection: self._changes(connection, listed, hidden, asked_at, is_whole)
            )
        )

    def _locate(
        self, connection: Connection, error_rows: Mapping[str, Row], places: Mapping[str, BundleFile]
    ) -> None:
        """Store the places of the files that a hook has named by their whole paths."""
        append.lock(connection)  # no event of the file comes meanwhile
        import_errors.locate(connection, self._api.deployment, places)
        for error_id, place in places.items():
            filename = error_rows[error_id]["filename"]
            incident_transitions.name_file(connection, self._api.deployment, filename, place, self._clock())

    async def _sees_nothing(self) -> bool:
        """Return True if the list is empty because the monitor's user may no longer read any DAG."""
        deployment = self._api.deployment
        error_rows = await self._database.read(
            lambda connection: import_errors.find_import_errors(connection, deployment, ())
        )
        dags = await self._database.read(lambda connection: dags_projection.load_dags(connection, deployment))
        if not any(row["open"] for row in error_rows.values()) or all(
            row["is_stale"] for row in dags.values()
        ):
            return False
        return await self._api.may_read() == 0

    def _sort(self, rows: list[Row]) -> tuple[dict[str, Row], list[Row]]:
        """Return the rows by the id of their error, and the rows whose error's id cannot be known."""
        listed: dict[str, Row] = {}
        hidden, passed = [], {}
        for row in rows:
            try:
                if is_redacted(row):
                    hidden.append(row)
                    passed[str(row.get("filename"))] = REDACTED
                else:
                    import_error_event(self._api.deployment, row, self._clock())
                    listed[error_id_of(row)] = row
            except EventError as error:
                passed[str(row.get("filename"))] = str(error)
        self._reporter.pass_over(passed)
        return listed, hidden

    def _changes(
        self,
        connection: Connection,
        listed: dict[str, Row],
        hidden: list[Row],
        asked_at: datetime,
        is_whole: bool,
    ) -> list[Event]:
        """Return the events of the changes.
        `is_whole` says whether an error that is not listed is gone. A row that was too long to read may be
        any error."""
        error_rows = import_errors.find_import_errors(connection, self._api.deployment, listed)
        gone = {
            error_id: row
            for error_id, row in error_rows.items()
            if is_whole
            and row["open"]
            and error_id not in listed
            and not any(import_errors.may_be(row, hidden_row) for hidden_row in hidden)
        }
        back = {
            error_id: row for error_id, row in error_rows.items() if error_id in listed and not row["open"]
        }
        changed = find_settled(connection, gone | back, asked_at)
        mended = [
            self._build_mended_event(error_id, error_rows, listed) for error_id in gone if error_id in changed
        ]
        broken = [error_id for error_id in listed if error_id not in error_rows or error_id in changed]
        return mended + [
            self._build_broken_event(error_id, listed[error_id], error_rows.get(error_id))
            for error_id in broken
        ]

    def _build_mended_event(
        self, error_id: str, error_rows: Mapping[str, Row], listed: Mapping[str, Row]
    ) -> Event:
        its = error_rows[error_id]
        # For a row that a hook reported too, the whole path is known: that of another file may end as REST's
        # does.
        files = ((other, error_rows.get(other, row)) for other, row in listed.items())
        instead = next((other for other, file in files if import_errors.may_be(its, file)), None)
        return import_error_mended_event(
            self._api.deployment, error_id, its, instead, self._clock(), number=its["times"]
        )

    def _build_broken_event(self, error_id: str, row: Row, error_row: Row | None) -> Event:
        number = error_row["times"] + 1 if error_row else 1
        return import_error_event(self._api.deployment, row, self._clock(), number, error_id)


def by_first_id(rows: Mapping[str, Row], error_rows: Mapping[str, Row]) -> dict[str, Row]:
    """Return REST's rows by the ids under which their errors were first reported.
    Such an id is REST's own, or that of a hook's report of the same trace in a file whose whole path ends
    with the row's. The longest path is matched first, and each report with one row only."""
    found = {error_id: row for error_id, row in rows.items() if error_id in error_rows}
    pairs = [
        (error_id, first_id)
        for error_id in rows.keys() - found.keys()
        for first_id, error_row in error_rows.items()
        if first_id not in found
        and error_row["trace"] == trace_of_error(error_id)
        and import_errors.may_be(error_row, rows[error_id])
    ]
    left = {error_id: row for error_id, row in rows.items() if error_id not in found}
    for error_id, first_id in sorted(pairs, key=lambda pair: _fit(rows[pair[0]], error_rows[pair[1]])):
        if error_id in left and first_id not in found:
            found[first_id] = left.pop(error_id)
    return {**found, **left}


def _fit(row: Row, error_row: Row) -> tuple[bool, int, bool, str, str]:
    """Return the sort key of a match, the best first.
    The order is: what REST has said already, the longest path, a folder with the bundle's name."""
    folders = error_row["filename"].split("/")
    is_named_so = row.get("bundle_name") in folders
    return (
        error_row["path"] is None,
        -len(row["filename"]),
        not is_named_so,
        row["filename"],
        error_row["filename"],
    )


def _places(listed: Mapping[str, Row], error_rows: Mapping[str, Row]) -> dict[str, BundleFile]:
    """Return the newly learned places of the files in hooks' reports."""
    return {
        error_id: place
        for error_id, row in listed.items()
        if error_id in error_rows
        and error_rows[error_id]["bundle_name"] is None
        and (place := BundleFile.from_row(row))
    }
