"""The facts about each Airflow deployment: its origin, and the DAGs that the log has events of.

`origin_of` gives the moment from which Windsock reports on a deployment. Earlier events are logged without a
notification, because a first start would mail every failure that Airflow remembers.

`LoggedDags` counts the DAGs that events named for the first time. Permissions that were read before a DAG
had its first event cannot decide about that DAG, so they have to be read again. `LoggedDags` is used on the
event loop's own thread only."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, case, insert, select
from sqlalchemy.exc import IntegrityError

from monitor.database.engine import Database
from monitor.database.schema import events, watermarks
from monitor.database.statements import Statement
from monitor.event_log.cursor import Cursor, state
from monitor.event_log.filters import UPDATED, began_by
from monitor.event_log.read import LogRow

ORIGIN = "origin"
BEFORE_FIRST_SIGHT = timedelta(minutes=5)
"""The time before Windsock's first contact with a deployment in which failures are reported all the same. A
user who installs Windsock and sees a run fail meanwhile expects the mail."""


def origin_of(connection: Connection, deployment: str, now: datetime) -> datetime:
    """Return the moment from which Windsock reports on a deployment.
    The first call sets it. It then stays for ever."""
    origin = _load_origin(connection, deployment)
    if origin is not None:
        return origin
    moment = now - BEFORE_FIRST_SIGHT
    row = {"deployment": deployment, "name": ORIGIN, "moment": moment, "updated_at": now}
    try:
        with connection.begin_nested():
            connection.execute(insert(watermarks).values(row))
    except IntegrityError:  # another monitor was faster: its word counts
        return _load_origin(connection, deployment) or moment
    return moment


def _load_origin(connection: Connection, deployment: str) -> datetime | None:
    found = _MOMENT.first(connection, deployment=deployment)
    return found["moment"] if found else None


_MOMENT = Statement(
    lambda _insert: select(watermarks.c.moment).where(
        watermarks.c.deployment == bindparam("deployment"), watermarks.c.name == ORIGIN
    )
)

MAX_DAGS = 100_000  # remembered of one deployment: an id costs about 100 bytes
MAX_EVENTS = 10_000  # read to catch up. After a longer gap every permission is asked for again instead

DagId = tuple[str, str]
"""A deployment and a dag_id."""


class LoggedDags:
    """The count, for each deployment, of events that named a DAG for the first time."""

    def __init__(self, database: Database, listed: Callable[[Connection], Iterable[DagId]]) -> None:
        """Keep `listed`, which reads the DAGs that are known without a look at each event."""
        self._database = database
        self._listed = listed
        self._dags: dict[str, set[str]] = {}
        self._versions: dict[str, int] = {}
        self.version = 0
        """Grows whenever the version of a deployment does."""
        self._place: Cursor | None = None

    @property
    def seq(self) -> int:
        """The place in the log up to which every event's DAG was noted."""
        return self._place.seq if self._place else 0

    @property
    def dags(self) -> frozenset[DagId]:
        """The DAGs that events and lists named, without those that were forgotten."""
        return frozenset((deployment, dag_id) for deployment, dags in self._dags.items() for dag_id in dags)

    def version_of(self, deployment: str) -> int:
        """Return the number of DAGs of this deployment that have become known."""
        return self._versions.get(deployment, 0)

    def has_any(self, deployment: str) -> bool:
        """Return True if some event or list named a DAG of this deployment, forgotten since or not."""
        return deployment in self._dags

    def note(self, after: Cursor, lines: Sequence[LogRow]) -> None:
        """Add the DAGs that the events after a place name, and those whose runs an asset's update began."""
        for line in lines:
            if line.dag_id is not None:
                self._add(line.deployment, line.dag_id)
            if line.type == UPDATED:
                self._add_begun(line.body)
        place = self._place
        if lines and place and place.epoch == after.epoch and after.seq <= place.seq < lines[-1].seq:
            self._place = Cursor(after.epoch, lines[-1].seq)

    def forget(self, dags: Iterable[DagId]) -> None:
        """Forget DAGs that a user can no longer read, because they may be deleted.
        A DAG that comes again counts as new."""
        for deployment, dag_id in dags:
            self._dags.get(deployment, set()).discard(dag_id)

    async def catch_up(self) -> None:
        """Take note of all that the log holds by now, whichever process wrote it."""
        before = self._place
        end, listed, rows = await self._database.read(lambda connection: self._read(connection, before))
        if before is None or rows is None:
            self._add_all(listed)
        for deployment, dag_id, updated in rows or ():
            if dag_id is not None:
                self._add(deployment, dag_id)
            if updated is not None:
                self._add_begun(updated)
        now = self._place
        if now is None or now.epoch != end.epoch or now.seq < end.seq:
            self._place = end

    def _read(
        self, connection: Connection, before: Cursor | None
    ) -> tuple[Cursor, list[DagId], list[tuple[str, str | None, str | None]] | None]:
        """Read the log's end, what came since, and (first, and after a long gap) every listed DAG."""
        log = state(connection)
        end = Cursor(log.epoch, log.last_seq)
        if before is not None and before == end:
            return end, [], []
        if before is None or before.epoch != end.epoch or end.seq - before.seq > MAX_EVENTS:
            return end, list(self._listed(connection)), None
        updated = case((events.c.type == UPDATED, events.c.body))
        since = (events.c.seq > before.seq, events.c.seq <= end.seq)
        query = select(events.c.deployment, events.c.dag_id, updated).where(*since).distinct()
        return end, [], [(row[0], row[1], row[2]) for row in connection.execute(query)]

    def _add_begun(self, body: str) -> None:
        for deployment, dag_id in began_by(body):
            self._add(deployment, dag_id)

    def _add(self, deployment: str, dag_id: str) -> None:
        dags = self._dags.setdefault(deployment, set())
        if dag_id in dags:
            return
        if len(dags) >= MAX_DAGS:
            dags.clear()
        dags.add(dag_id)
        self._grow(deployment)

    def _add_all(self, listed: Iterable[DagId]) -> None:
        for deployment, dag_id in listed:
            self._dags.setdefault(deployment, set()).add(dag_id)
        for deployment in self._dags:  # events were passed over: any deployment may have a DAG more
            self._grow(deployment)

    def _grow(self, deployment: str) -> None:
        self._versions[deployment] = self.version_of(deployment) + 1
        self.version += 1
