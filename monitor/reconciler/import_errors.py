"""Import errors: Airflow lists those there are. One that is no longer listed is mended, or its file is gone;
one that comes back with the same trace has an id that the log knows, and is told under the next number.
"""

from contextlib import aclosing
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor import board
from monitor.airflow_api import AirflowApi
from monitor.clock import Clock
from monitor.database import Database
from monitor.errors import AirflowRefused, EventError
from monitor.events import Event
from monitor.events.rest import Row
from monitor.events.rest_dags import error_id_of, import_error_event, is_redacted, mended_event
from monitor.ingest import Ingest
from monitor.metrics import Metrics
from monitor.reconciler.pauses import HIDDEN
from monitor.reconciler.teller import Teller, settled

REDACTED = "its trace is hidden from the monitor's user, who may not read every DAG of the file"


class ImportErrors:
    """The snapshot of GET /importErrors."""

    name = "import_errors"
    every = timedelta(seconds=30)  # Airflow itself parses a file no more often, unless it is told to

    def __init__(
        self, api: AirflowApi, database: Database, ingest: Ingest, metrics: Metrics, clock: Clock
    ) -> None:
        self._api = api
        self._database = database
        self._clock = clock
        self._teller = Teller(self.name, api.deployment, ingest, metrics)

    async def is_wanted(self) -> bool:
        return False

    async def compare(self) -> None:
        """Tell what broke and what was mended. Raises AirflowError, IngestBusy, SQLAlchemyError."""
        asked = self._clock()
        try:
            async with aclosing(self._api.import_errors()) as pages:
                rows = [row async for page in pages for row in page.rows]
        except AirflowRefused as refused:  # it holds up nothing else: said once, and asked again
            self._teller.pass_over({"the listing": str(refused)})
            return
        if not rows and await self._sees_nothing():
            self._teller.pass_over({"the listing": HIDDEN})
            return
        listed, hidden = self._sort(rows)
        await self._teller.tell(
            await self._database.read(lambda connection: self._changes(connection, listed, hidden, asked))
        )

    async def _sees_nothing(self) -> bool:
        """Whether the list is empty because the monitor's user may read no DAG any more, and so no error."""
        deployment = self._api.deployment
        known = await self._database.read(
            lambda connection: board.known_import_errors(connection, deployment, ())
        )
        dags = await self._database.read(lambda connection: board.known_dags(connection, deployment))
        if not any(row["open"] for row in known.values()) or all(row["is_stale"] for row in dags.values()):
            return False
        return await self._api.may_read() == 0

    def _sort(self, rows: list[Row]) -> tuple[dict[str, Row], list[Row]]:
        """The rows by the id of their error, and those of which that cannot be known."""
        listed: dict[str, Row] = {}
        hidden, passed = [], {}
        for row in rows:
            try:
                if is_redacted(row):
                    hidden.append(row)
                    passed[str(row["filename"])] = REDACTED
                else:
                    import_error_event(self._api.deployment, row, self._clock())
                    listed[error_id_of(row)] = row
            except EventError as error:
                passed[str(row.get("filename"))] = str(error)
        self._teller.pass_over(passed)
        return listed, hidden

    def _changes(
        self, connection: Connection, listed: dict[str, Row], hidden: list[Row], asked: datetime
    ) -> list[Event]:
        known = board.known_import_errors(connection, self._api.deployment, listed)
        gone = {
            error_id: row
            for error_id, row in known.items()
            if row["open"] and error_id not in listed and not any(_same_file(row, other) for other in hidden)
        }
        back = {error_id: row for error_id, row in known.items() if error_id in listed and not row["open"]}
        changed = settled(connection, gone | back, asked)
        mended = [self._mended(one, known[one], listed) for one in gone if one in changed]
        broken = [one for one in listed if one not in known or one in changed]
        return mended + [self._broken(one, listed[one], known.get(one)) for one in broken]

    def _mended(self, error_id: str, known: Row, listed: dict[str, Row]) -> Event:
        instead = next((other for other, row in listed.items() if _same_file(known, row)), None)
        return mended_event(
            self._api.deployment, error_id, known, instead, self._clock(), number=known["times"]
        )

    def _broken(self, error_id: str, row: Row, known: Row | None) -> Event:
        number = known["times"] + 1 if known else 1
        return import_error_event(self._api.deployment, row, self._clock(), number)


def _same_file(known: Row, row: Row) -> bool:
    """Whether an error as it was told and one that Airflow lists are of one file. The listener told its whole
    path and no bundle; Airflow lists the path inside the bundle."""
    if known["bundle_name"] is not None:
        return bool((known["bundle_name"], known["filename"]) == (row.get("bundle_name"), row["filename"]))
    one, other = known["filename"].split("/"), row["filename"].split("/")
    return bool(one[-len(other) :] == other)
