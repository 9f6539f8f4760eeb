"""The signals between monitors on one PostgreSQL (LISTEN and NOTIFY).

`signal` sends inside a transaction, and PostgreSQL delivers the signal only after the commit. A signal says
that something is to be looked for, and never what. A signal may be lost with a connection, so every loop
that it wakes polls as well. `signal` does nothing on SQLite, because a monitor on SQLite is alone.

`PubSubListener` wakes the loops of its replica. A replica also receives its own signals, and looking once
more costs one query.

`DedicatedConnection` is a connection outside the pool for everything that is bound to a session (LISTEN,
locks). The loss of the connection is noticed at once if the server reports it. A silent loss is noticed
within `ANSWER_SECONDS` of the next question. The connection is then made anew, for ever, with longer and
longer pauses."""

import asyncio
import logging
import os
import random
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from monitor.concurrency import WakeSignal
from monitor.database.engine import Database
from monitor.observability.metrics import Metrics

if TYPE_CHECKING:
    from psycopg import AsyncConnection, Notify

    Session = AsyncConnection[tuple[Any, ...]]

ANSWER_SECONDS = 3.0  # for a question that a server answers in a millisecond
SHORTEST_PAUSE = 0.2  # seconds before it is made anew: a server that restarts is back in one or two
LONGEST_PAUSE = 5.0  # seconds: a server that was away for long is found back so soon

logger = logging.getLogger(__name__)


class LinkLost(Exception):
    """The server does not answer over this connection."""


class DedicatedConnection:
    """A connection outside the pool.
    `name` stands in the metrics, and after the replica's name in pg_stat_activity."""

    def __init__(self, name: str, database: Database, metrics: Metrics) -> None:
        self.name = name
        self._database = database
        self._metrics = metrics

    async def keep(self, use: "Callable[[Session], Awaitable[None]]") -> None:
        """Connect and `use` it, again whenever it is lost, until canceled. `use` ends by raising."""
        pause = SHORTEST_PAUSE
        while True:
            try:
                session = await self._connect()
                try:
                    pause = SHORTEST_PAUSE
                    await use(session)
                finally:
                    await session.close()
            except self._losses as error:
                self._metrics.dedicated_connections_lost.labels(self.name).inc()
                text = str(error).strip() or type(error).__name__
                logger.warning("the connection for %s is lost, trying in %.1f s: %s", self.name, pause, text)
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 (spreads load)
            pause = min(2 * pause, LONGEST_PAUSE)

    @property
    def _losses(self) -> tuple[type[Exception], ...]:
        import psycopg  # PostgreSQL is an option: without it the driver is not needed

        return psycopg.Error, LinkLost, OSError

    async def _connect(self) -> "Session":
        import psycopg

        return await psycopg.AsyncConnection.connect(**self._database.apart(self.name), autocommit=True)


async def ask(session: "Session", question: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Run a query and return its rows. Raises LinkLost if no answer comes in time, and psycopg.Error."""
    asking = asyncio.ensure_future(_rows(session, question, parameters))
    try:
        await asyncio.wait({asking}, timeout=ANSWER_SECONDS)
        if asking.done():
            return await asking
        raise LinkLost(f"no answer in {ANSWER_SECONDS:.0f} s")
    finally:
        if not asking.done():
            _cut(session, asking)


async def _rows(session: "Session", question: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    cursor = await session.execute(question.encode(), parameters)
    return await cursor.fetchall() if cursor.description else []


def _cut(session: "Session", asking: "asyncio.Future[Any]") -> None:
    """End the connection under a question. To cancel it would have the driver ask the server, for seconds."""
    asking.add_done_callback(lambda done: done.cancelled() or done.exception())
    with socket.socket(fileno=os.dup(session.fileno())) as wire, suppress(OSError):
        wire.shutdown(socket.SHUT_RDWR)


async def rest(session: "Session", seconds: float) -> "list[Notify]":
    """Wait so many seconds or until a signal comes, and return the signals.
    Raises psycopg.Error as soon as the server ends the connection."""
    async with aclosing(session.notifies(timeout=seconds, stop_after=1)) as heard:
        return [notify async for notify in heard]


CHANNEL = "windsock"
FEED = "feed"
"""The log has grown."""
DELIVERY = "delivery"
"""Something is to be sent."""


def reconcile(deployment: str) -> str:
    """Return the signal that an asset of this deployment was updated, so Airflow is to be asked at once."""
    return f"reconcile {deployment}"


def run_ended(deployment: str) -> str:
    """Return the signal that a run of this deployment ended, so its tasks are to be compared at once."""
    return f"run_ended {deployment}"


def signal(connection: Connection, *payload: str) -> None:
    """Send these signals when the transaction is committed.
    On SQLite nothing is sent, because no other monitor exists."""
    if payload and connection.dialect.name == "postgresql":
        # One statement for all signals. The server leaves repeated ones out.
        connection.exec_driver_sql(_SIGNAL, (CHANNEL, list(payload)))


_SIGNAL = "SELECT pg_notify(%s, word) FROM unnest(%s::text[]) AS word"

CHECK_SECONDS = 15.0  # of silence, after which the server is asked whether it lives. Loops poll more often


class PubSubListener:
    """The listener for other replicas' signals.
    `run()` is its background task. `wakes` holds the wake signal for each text. Other texts are ignored,
    because a newer release may send them."""

    def __init__(self, link: DedicatedConnection, wakes: Mapping[str, WakeSignal], metrics: Metrics) -> None:
        self._link = link
        self._wakes = wakes
        self._metrics = metrics

    async def run(self) -> None:
        """Listen until canceled."""
        await self._link.keep(self._listen)

    async def _listen(self, session: "Session") -> None:
        await ask(session, f"LISTEN {CHANNEL}")
        for wake in self._wakes.values():  # signals may have been missed while no session listened
            wake.set()
        while True:
            heard = await rest(session, CHECK_SECONDS)
            for payload in dict.fromkeys(notify.payload for notify in heard):
                self._wake(payload)
            if not heard:
                await ask(session, "SELECT 1")

    def _wake(self, payload: str) -> None:
        wake = self._wakes.get(payload)
        if wake is not None:
            self._metrics.notifications_received.labels(payload.partition(" ")[0]).inc()
            wake.set()
