"""The periodic small write, which shows a full disk or read-only server before an event is refused.

A request for the state of the database gets the latest result of `WriteCheck`. No request writes, so a
stranger's request does not write either.
"""

import asyncio
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from monitor.clock import Clock
from monitor.database.engine import Database
from monitor.database.schema import write_checks as table
from monitor.observability.metrics import Metrics

WRITE_SECONDS = 10.0  # between two writes: what probes the monitor asks about as often
STALE_SECONDS = 60.0  # without a result: longer than a statement may take, or wait for SQLite's lock
MIN_FREE_BYTES = (
    8 * 1024**2
)  # SQLite: a request of 4 MiB of events stands in the journal, then in the file too
ROW = 1

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WriteResult:
    """The outcome of the latest write."""

    error: str | None
    """None if it got through."""
    age: float | None
    """The seconds since a write got through. None if none has, in this process."""

    @property
    def is_stale(self) -> bool:
        """True if writes neither get through nor fail, because one waits for a lock or an answer."""
        return self.age is not None and self.age > STALE_SECONDS


class WriteCheck:
    """The check that the database can be written.
    `run()` is its background task, in each replica, because a replica may be cut off alone."""

    def __init__(
        self,
        database: Database,
        metrics: Metrics,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        self._database = database
        self._clock = clock
        self._monotonic = monotonic
        self._free_bytes = free_bytes
        self._error: str | None = None
        self._began = monotonic()
        self._written_at: float | None = None
        metrics.database_write_age.set_function(self._seconds_without)

    @property
    def result(self) -> WriteResult:
        """The result of the last check."""
        age = None if self._written_at is None else self._monotonic() - self._written_at
        return WriteResult(self._error, age)

    async def run(self) -> None:
        """Write until canceled."""
        while True:
            await self.write()
            await asyncio.sleep(WRITE_SECONDS)

    async def write(self) -> None:
        """Write once. What fails is the result."""
        try:
            self._require_space()
            await self._database.write(lambda connection: _keep(connection, self._clock()))
        except (SQLAlchemyError, OSError) as error:
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            if self._error is None:  # once a change, not once a write
                logger.error("the database cannot be written: %s", reason)  # noqa: TRY400 (the reason is all)
            self._error = reason
            return
        if self._error is not None:
            logger.info("the database is written again")
        self._error, self._written_at = None, self._monotonic()

    def _require_space(self) -> None:
        """Raise OSError if the disk is almost full. A row may still fit when events no longer do."""
        file = None if self._database.is_shared else self._database.url.database
        if file and file != ":memory:":
            free = self._free_bytes(Path(file).parent)
            if free < MIN_FREE_BYTES:
                raise OSError(f"the disk is full: {free // 1024} KiB are free at {Path(file).parent}")

    def _seconds_without(self) -> float:
        return self._monotonic() - (self._began if self._written_at is None else self._written_at)


def _keep(connection: Connection, now: datetime) -> None:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    put = insert(table).values(id=ROW, written_at=now)
    connection.execute(put.on_conflict_do_update(index_elements=table.primary_key, set_={"written_at": now}))


def last_written(connection: Connection) -> datetime | None:
    """Return when a monitor on this database last wrote this row."""
    found: datetime | None = connection.scalar(select(table.c.written_at).where(table.c.id == ROW))
    return found
