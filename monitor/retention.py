"""The deletion of old data: log events after days, projections and the ledger after months.

`Retention` deletes in small batches, so that ingest never waits long for a batch. Each table's own module has
the function that deletes its rows (`forget…`, for the log `prune`). `_sweeps` lists those functions in order.

Some records stay, however old they are: open incidents with their notifications, waiting deliveries, silences
in force, and runs that have not ended. Findings and import errors stay while they hold. Unsubscriptions,
watermarks and DAGs are never deleted.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from monitor.clock import Clock
from monitor.database.engine import Database
from monitor.database.statements import Key, SweepResult
from monitor.event_log import append
from monitor.event_log.projections import state
from monitor.notifications import incidents, silences
from monitor.notifications.outbox import already_sent, retention
from monitor.watches import findings
from monitor.web.auth import rate_limit, sessions

LOOK_SECONDS = 3600  # events are kept for days, so an hour more does no harm
LEDGER_EVERY = timedelta(days=1)  # the projections and the ledger are walked through from end to end
PAUSE_SECONDS = 0.05  # between two batches: the writer's turn for others who wait
SLACK = timedelta(minutes=5)
"""The time by which an event is kept longer than the reconciler looks back. A host's clock may be ahead of
ours, and then an event is younger by its own time than by ours."""

Sweep = Callable[[Connection, Key], SweepResult]

logger = logging.getLogger(__name__)


class Retention:
    """The retention: `days` of the log, and `ledger_days` of the rest (None: for ever).
    A cursor older than what the log keeps gets an explicit reset."""

    def __init__(
        self, database: Database, days: float, clock: Clock, ledger_days: float | None = None
    ) -> None:
        self._database = database
        self._age = timedelta(days=days)
        self._ledger_age = None if ledger_days is None else timedelta(days=ledger_days)
        self._clock = clock
        self._looked: datetime | None = None

    async def run(self) -> None:
        """Look once an hour until canceled. If the database is away, the next look tries again."""
        while True:
            try:
                await self.look()
            except SQLAlchemyError as error:
                logger.warning("what is old is not forgotten at this look: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Delete what is old enough. The ledger's turn comes once in LEDGER_EVERY."""
        await self.forget()
        now = self._clock()
        if self._looked is None or not self._looked <= now < self._looked + LEDGER_EVERY:
            await self.forget_ledger()
            self._looked = now

    async def forget(self) -> int:
        """Delete every event that is old enough, and ended sessions. Return the number of events."""
        now = self._clock()
        before = now - self._age - SLACK
        await self._database.write(lambda connection: sessions.forget(connection, now))
        await self._database.write(lambda connection: rate_limit.forget(connection, now))
        return await self._all("events", lambda connection, _: _prune(connection, before))

    async def forget_ledger(self) -> dict[str, int]:
        """Delete what else is old enough. Return the number of rows, by what they are."""
        now, age = self._clock(), self._ledger_age
        if age is None:
            return {}
        before = now - age
        await self._database.write(lambda connection: append.mark(connection, now, before))
        upto = await self._database.read(lambda connection: append.seq_by(connection, before))
        return {name: await self._all(name, sweep) for name, sweep in _sweeps(before, upto)}

    async def _all(self, name: str, sweep: Sweep) -> int:
        after: Key | None = ()
        forgotten = 0
        while after is not None:
            swept = await self._database.write(partial(_run_sweep, sweep, after))
            forgotten, after = forgotten + swept.gone, swept.after
            await asyncio.sleep(PAUSE_SECONDS)
        if forgotten:
            logger.info("forgot %d old rows: %s", forgotten, name)
        return forgotten


def _run_sweep(sweep: Sweep, after: Key, connection: Connection) -> SweepResult:
    return sweep(connection, after)


def _prune(connection: Connection, before: datetime) -> SweepResult:
    gone = append.prune(connection, before)
    return SweepResult(gone, () if gone else None)


def _sweeps(before: datetime, upto: int) -> Iterator[tuple[str, Sweep]]:
    """Yield the sweeps in order.
    A run goes before its tasks, which go with it, and a notification while its incident is known."""
    yield "runs", lambda connection, _: state.forget_runs(connection, upto)
    yield "tasks", lambda connection, after: state.forget_tasks(connection, upto, after)
    yield "tries", lambda connection, after: state.forget_tries(connection, upto, after)
    yield "assets", lambda connection, _: state.forget_assets(connection, upto)
    yield "import errors", lambda connection, after: state.forget_import_errors(connection, upto, after)
    yield (
        "notifications",
        lambda connection, after: retention.forget(connection, before, after, incidents.still_open),
    )
    yield "decisions", lambda connection, after: retention.forget_decisions(connection, before, after)
    yield "incidents", lambda connection, _: incidents.forget(connection, before)
    yield "silences", lambda connection, _: silences.forget(connection, before)
    yield "findings", lambda connection, after: findings.forget(connection, before, after)
    yield "told before", lambda connection, _: already_sent.forget(connection, before)
