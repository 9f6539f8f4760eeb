"""The election of the replica that does a task, and the record of tasks that have failed.

`PostgresLeaderElection` takes an advisory lock of PostgreSQL for each task, and the replica that holds the
lock is the leader. `SingleNode` replaces the election on SQLite, because a monitor on SQLite is always the
leader. `run_as_leader` runs a task while this replica is its leader, and begins the task anew after a
failure. `FailedWorks` keeps the failures.

The locks belong to a dedicated session. That session ends with the process (at once, even by kill -9), with
the server, or when the monitor stops. If the network fails, the session ends after `PEER_GONE` seconds.
Another replica then becomes the leader within `LOOK_SECONDS`. A replica that cannot ask the server for
`LOOK_SECONDS` + `ANSWER_SECONDS` stops the task by itself, before the server gives the lock to another
replica.

One overlap remains. A transaction that was under way when the session ended may still be committed while the
next leader works. Every task must therefore be right even if two replicas do it at once."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol
from zlib import crc32

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from monitor.clock import Clock
from monitor.concurrency import end, first_of
from monitor.database.engine import APPLICATION, Database
from monitor.database.pubsub import DedicatedConnection, ask, rest
from monitor.observability.metrics import Metrics

if TYPE_CHECKING:
    from monitor.database.pubsub import Session


SHOWN = 200  # characters of an error
SHOWN_FOR = timedelta(minutes=10)  # since it failed last: it is begun anew within two minutes


@dataclass(frozen=True)
class WorkFailure:
    """The last failure of a task."""

    at: datetime
    error: str


class FailedWorks:
    """The tasks of this process that have failed, by name."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._last: dict[str, WorkFailure] = {}

    def note(self, work: str, error: Exception) -> None:
        """Record and count a failure."""
        self._metrics.work_failures.labels(work).inc()
        self._last[work] = WorkFailure(self._clock(), f"{type(error).__name__}: {error}"[:SHOWN])

    def lately(self) -> Mapping[str, WorkFailure]:
        """Return the failures of the last SHOWN_FOR."""
        now = self._clock()
        return {work: failure for work, failure in self._last.items() if now - failure.at < SHOWN_FOR}


PURPOSE = "leader"  # of the connection: its name in the metrics and in pg_stat_activity
AGAIN_SECONDS = 5.0  # until a work is begun again that the database has ended
LONGEST_PAUSE = 120.0  # seconds of it, doubled while the work fails at once. After longer work it is as new
LOOK_SECONDS = 1.0  # from one look for free locks to the next, which also asks whether the server is there
STAND_DOWN_SECONDS = 5.0  # for the work to end before its lock is given back at a clean stop

Work = Callable[[], Awaitable[None]]
"""Runs until canceled, or raises."""

logger = logging.getLogger(__name__)


class LeaderElection(Protocol):
    """The election that says which tasks this replica leads."""

    def has(self, work: str) -> bool:
        """Return True if this replica leads the task."""

    async def wait_until_leader(self, work: str) -> None:
        """Wait until this replica is the leader."""

    async def wait_until_lost(self, work: str) -> None:
        """Wait until this replica is no longer the leader."""

    def stand_down(self, work: str) -> None:
        """Record that the task has ended."""


class SingleNode:
    """The election on a database that only this monitor uses: this monitor leads every task."""

    def __init__(self, works: Sequence[str], metrics: Metrics) -> None:
        for work in works:
            metrics.leader.labels(work).set(1)

    def has(self, work: str) -> bool:
        """Return True: this monitor leads every task."""
        return True

    async def wait_until_leader(self, work: str) -> None:
        """Return at once, because this monitor is the leader."""
        return

    async def wait_until_lost(self, work: str) -> None:
        """Wait for ever, because this monitor stays the leader."""
        await asyncio.Event().wait()

    def stand_down(self, work: str) -> None:
        """Do nothing: no other monitor waits for the task."""
        return


class _LeaderLock:
    """The lock of one work, which runs between `wait_until_leader` and `stand_down`."""

    def __init__(self, work: str) -> None:
        self.key = key(work)
        self.taken, self.lost, self.idle = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.lost.set()
        self.idle.set()


class PostgresLeaderElection:
    """The election by PostgreSQL's advisory locks. `run()` is its background task, which holds the locks."""

    def __init__(self, link: DedicatedConnection, works: Sequence[str], metrics: Metrics) -> None:
        self._link = link
        self._locks = {work: _LeaderLock(work) for work in works}
        self._metrics = metrics
        self._show()

    def has(self, work: str) -> bool:
        """Return True if this replica holds the task's lock."""
        return self._locks[work].taken.is_set()

    async def wait_until_leader(self, work: str) -> None:
        """Wait until this replica holds the task's lock."""
        lock = self._locks[work]
        await lock.taken.wait()
        lock.idle.clear()

    async def wait_until_lost(self, work: str) -> None:
        """Wait until this replica has lost the task's lock."""
        await self._locks[work].lost.wait()

    def stand_down(self, work: str) -> None:
        """Record that the task has ended, so that the lock may be released."""
        self._locks[work].idle.set()

    async def run(self) -> None:
        """Take the locks that are free, and keep them, until canceled."""
        await self._link.keep(self._hold)

    async def _hold(self, session: "Session") -> None:
        try:
            while True:
                await self._take(session)
                await rest(session, LOOK_SECONDS)
        except asyncio.CancelledError:
            await self._finish()
            raise
        finally:
            self._give_up()

    async def _take(self, session: "Session") -> None:
        free = {lock.key: work for work, lock in self._locks.items() if not lock.taken.is_set()}
        # Also where nothing is free: no answer means that what is held may not be held for long.
        rows = await ask(session, _TAKE, (NAMESPACE, list(free)))
        for number, got in rows:
            if got:
                lock = self._locks[free[number]]
                lock.lost.clear()
                lock.taken.set()
                logger.info("this replica is the leader: %s", free[number])
        self._show()

    async def _finish(self) -> None:
        """Wait, at a clean stop, until the tasks have ended.
        So each ends before another replica begins it."""
        busy = [asyncio.create_task(lock.idle.wait()) for lock in self._locks.values()]
        await asyncio.wait(busy, timeout=STAND_DOWN_SECONDS)
        await end(busy)

    def _give_up(self) -> None:
        for work, lock in self._locks.items():
            if lock.taken.is_set():
                logger.info("this replica is no longer the leader: %s", work)
            lock.taken.clear()
            lock.lost.set()
        self._show()

    def _show(self) -> None:
        for work in self._locks:
            self._metrics.leader.labels(work).set(self.has(work))


def make_election(
    database: Database, works: Sequence[str], metrics: Metrics
) -> SingleNode | PostgresLeaderElection:
    """Return the election that fits the database."""
    if not database.is_shared:
        return SingleNode(works, metrics)
    return PostgresLeaderElection(DedicatedConnection(PURPOSE, database, metrics), works, metrics)


def run_as_leader(
    election: LeaderElection, name: str, work: Work, failed: FailedWorks, pause: float = AGAIN_SECONDS
) -> Work:
    """Return a background task that runs `work` whenever this replica is the leader.
    Each run begins anew: when it is called, `work` has to make what it remembers, or read it from the
    database. An error ends the run, and a new one begins, because one failing task must not end the others.
    An unavailable database is reported elsewhere. Any other error is a defect of the monitor and is recorded
    in `failed`."""

    async def run() -> None:
        wait = pause
        while True:
            await election.wait_until_leader(name)
            began = time.monotonic()
            try:
                await _run_until(work, election.wait_until_lost(name))
            except Exception as error:
                is_database = isinstance(error, DBAPIError)
                if not is_database:
                    failed.note(name, error)
                wait = pause if is_database or time.monotonic() - began > LONGEST_PAUSE else wait
                why = "the database is in trouble" if is_database else "it failed"
                logger.exception("%s: %s; beginning anew in %.0f s", name, why, wait)
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_PAUSE)
            finally:
                election.stand_down(name)

    return run


async def _run_until(work: Work, lost: Awaitable[None]) -> None:
    """Run the work until leadership is lost.
    Raises the work's error, or RuntimeError if the work ends by itself."""

    async def working() -> None:
        await work()
        raise RuntimeError("it ended by itself")

    await first_of(working(), lost)


def key(work: str) -> int:
    """Return the number of a task's lock, a signed integer of 32 bits."""
    return _to_signed(crc32(work.encode()))


def _to_signed(number: int) -> int:
    return number - 2**32 if number >= 2**31 else number


NAMESPACE = key("windsock")
"""The first number of every lock: other programs may have locks in the same database."""

_TAKE = "SELECT work, pg_try_advisory_lock(%s, work) FROM unnest(%s::int[]) AS work"
_HOLDERS = text(
    "SELECT l.objid::bigint AS work, a.application_name AS name FROM pg_locks l"
    " JOIN pg_stat_activity a USING (pid) JOIN pg_database d ON d.oid = l.database"
    " WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted AND d.datname = current_database()"
    " AND l.classid::bigint = :namespace"
)


def holders(connection: Connection, works: Sequence[str]) -> Mapping[str, str]:
    """Return the replica that leads each task, by the server's own account.
    A task without a leader is left out."""
    rows = connection.execute(_HOLDERS, {"namespace": NAMESPACE % 2**32})
    names = {row.work: row.name.removeprefix(f"{APPLICATION} ").removesuffix(f" {PURPOSE}") for row in rows}
    return {work: names[key(work) % 2**32] for work in works if key(work) % 2**32 in names}
