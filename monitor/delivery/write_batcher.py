"""The batching of several deliveries' writes into one transaction.

A commit waits for the disk, whatever the transaction holds. `WriteBatcher` therefore collects the writes that
are requested during a commit into the next transaction. No caller gets an answer before the commit, so
durability is the same as with one transaction for each write. If one write fails, the whole transaction is
undone, and each write is done again by itself.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

from monitor.database.engine import Database

TURNS = 5  # of the loop that are waited for: whoever is just about to ask comes along
MOST = 50  # in one transaction: it keeps ingest's writer waiting

T = TypeVar("T")


@dataclass(frozen=True)
class _PendingWrite:
    function: Callable[[Connection], Any]
    done: "asyncio.Future[Any]"


class WriteBatcher:
    """`write` is Database.write, shared."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_PendingWrite] = []
        self._writing: asyncio.Task[None] | None = None

    async def write(self, function: Callable[[Connection], T]) -> T:
        """Raises what the function raises, or what the database does. The function may be run twice, and then
        only the second run counts."""
        pending_write = _PendingWrite(function, asyncio.get_running_loop().create_future())
        self._waiting.append(pending_write)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._work(), name="the outbox's clerk")
        result: T = await pending_write.done
        return result

    async def _work(self) -> None:
        while self._waiting:
            for _ in range(TURNS):
                await asyncio.sleep(0)
            together, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            try:
                results = await self._database.write(partial(_all, together))
            except Exception as error:  # noqa: BLE001 (it is told to whoever asked)
                await self._one_by_one(together, error)
            except BaseException:
                _cancel(together + self._waiting)
                raise
            else:
                for pending_write, result in zip(together, results, strict=True):
                    _answer(pending_write, result)

    async def _one_by_one(self, together: list[_PendingWrite], error: Exception) -> None:
        if len(together) == 1:
            _fail(together[0], error)
            return
        for pending_write in together:
            try:
                _answer(pending_write, await self._database.write(pending_write.function))
            except Exception as own:  # noqa: BLE001 (as above)
                _fail(pending_write, own)


def _all(batch: list[_PendingWrite], connection: Connection) -> list[Any]:
    return [pending_write.function(connection) for pending_write in batch]


def _answer(pending_write: _PendingWrite, result: Any) -> None:
    if not pending_write.done.done():
        pending_write.done.set_result(result)


def _fail(pending_write: _PendingWrite, error: Exception) -> None:
    if not pending_write.done.done():
        pending_write.done.set_exception(error)


def _cancel(batch: list[_PendingWrite]) -> None:
    for pending_write in batch:
        pending_write.done.cancel()
