"""Every open feed of this process: a reader joins, is brought up to the live ones, and leaves."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from sqlalchemy.exc import DBAPIError

from monitor.database import Database
from monitor.event_log import LoggedDags
from monitor.feed import log_page
from monitor.feed.block import Message, body
from monitor.feed.forms import Form
from monitor.feed.live import Live, Saw, unwitnessed
from monitor.feed.offer import Send, Waiting
from monitor.feed.reader import FeedEnded, Reader, Rights
from monitor.feed.room import room, share_of
from monitor.feed.selection import Selection
from monitor.feed.starts import Start
from monitor.feed.turn import Turn
from monitor.metrics import Metrics
from monitor.wake import Wake

AGAIN_SECONDS = 1.0  # until a reader's own work is tried again that the database has ended
HEARTBEAT_SECONDS = 15.0  # below the 30 to 60 s after which proxies cut a silent connection
RETRY_MS = (1_000, 3_000)  # how soon a reader comes back: spread, so that a restart is not met by all at once

logger = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]


class FeedFull(Exception):
    """As many feeds are open as this process serves."""


class ShareFull(Exception):
    """As many feeds are open as one user may have: others need some too."""


class Feeds:
    """`publish` and `attend` are its background tasks."""

    def __init__(
        self,
        database: Database,
        wake: Wake,
        metrics: Metrics,
        logged: LoggedDags,
        heartbeat: float = HEARTBEAT_SECONDS,
        limit: int | None = None,
        saw: Saw = unwitnessed,
    ) -> None:
        """`limit`: feeds that may be open; default: as many as this process may have files for. `saw` is told
        how far readers have been served."""
        self._database = database
        self._metrics = metrics
        self._logged = logged
        self._live = Live(database, wake, metrics, logged, heartbeat, self._behind, saw)
        self._readers: dict[Reader, None] = {}
        self._open_of: Counter[str] = Counter()
        self._room = room() if limit is None else limit
        self._closed = False
        self.publish = self._live.publish
        self.attend = self._live.attend
        self.hand = self._live.fresh.put

    def require_room(self, whose: str | None = None) -> None:
        """Raises FeedFull where no further feed is served, ShareFull where none of this user is."""
        if len(self._readers) >= self._room:
            raise FeedFull(f"{self._room} feeds are open on this monitor; close some, or come back later")
        share = share_of(self._room)
        if whose is not None and self._open_of[whose] >= share:
            raise ShareFull(
                f"you have {share} feeds open on this monitor, as many as one user may; close some"
            )

    def join(
        self,
        start: Start,
        selection: Selection,
        form: Form,
        send: Send,
        rights: Rights | None = None,
        whose: str | None = None,
    ) -> Reader:
        """Serve a reader from now on, until it leaves, the service ends, or its rights do.

        Raises FeedFull and ShareFull: others may have come since there was room.
        """
        self.require_room(whose)
        reader = Reader(selection, form, send, rights, self._logged, whose)
        self._readers[reader] = None
        if whose is not None:
            self._open_of[whose] += 1
        self._metrics.feed_subscribers.inc()
        self._work_for(reader, partial(self._open, reader, start))
        return reader

    def leave(self, reader: Reader) -> None:
        """The connection is gone, or the feed has ended."""
        if self._readers.pop(reader, self) is self:
            return
        self._metrics.feed_subscribers.dec()
        if reader.whose is not None:
            self._open_of -= Counter((reader.whose,))  # which forgets whoever has none left
        self._live.leave(reader)
        if reader.task:
            reader.task.cancel()

    def close(self) -> None:
        """End every feed, at the service's end. Only from the event loop's own thread."""
        self._closed = True
        self._live.close(_farewell)

    def rights_changed(self) -> None:
        """Somebody signed out or was shut out: ask what each reader may see before it is told any more."""
        for reader in self._readers:
            reader.must_be_asked()

    def _behind(self, reader: Reader, waiting: Waiting | None) -> None:
        self._metrics.feed_lagged.inc()
        self._work_for(reader, partial(self._go_on, reader, waiting))

    def _work_for(self, reader: Reader, work: Work) -> None:
        reader.task = asyncio.create_task(self._guard(reader, work))

    async def _guard(self, reader: Reader, work: Work) -> None:
        """Do a reader's own work; where it cannot go on its feed is ended, and it comes back where it was."""
        try:
            await self._through(reader, work)
        except FeedEnded as ended:
            logger.info("a feed ended: %s", ended)
        except Exception:
            logger.exception("a feed cannot go on; it is ended, and its reader comes back")
            self._metrics.feed_errors.inc()
        if not reader.live:
            with suppress(Exception):  # it was logged above, where the connection is what broke
                await reader.send(_farewell(reader))
        reader.task = None

    async def _through(self, reader: Reader, work: Work) -> None:
        """A database that is away holds a feed up, and ends none that has begun."""
        while True:
            try:
                return await work()
            except DBAPIError as error:
                if not reader.epoch or self._closed:
                    raise
                logger.warning("the log cannot be read; a feed goes on when it can: %s", error.orig)
                self._metrics.feed_errors.inc()
                await asyncio.sleep(AGAIN_SECONDS)
                work = partial(self._catch_up, reader)

    async def _open(self, reader: Reader, start: Start) -> None:
        begun = await self._database.read(lambda connection: log_page.begin(connection, start))
        reader.move(begun.cursor)
        await reader.say(body(reader.form.retry(_retry()) + begun.encode(reader.form)))
        await self._catch_up(reader)

    async def _go_on(self, reader: Reader, waiting: Waiting | None) -> None:
        if waiting:
            await waiting
        await self._catch_up(reader)

    async def _catch_up(self, reader: Reader) -> None:
        """From the reader's place to the tape's end, where it becomes live: one loop, over tape and log."""
        turn = Turn()
        while not self._closed:
            tape = await self._live.tape()
            if reader.to_be_asked:
                await reader.ask()
                continue  # another DAG may have come meanwhile; from here on nothing is awaited
            if reader.epoch == tape.end.epoch and reader.seq >= tape.end.seq:
                self._live.enter(reader)
                return
            block = tape.following(reader.cursor)
            if block is None:
                await self._read_log(reader)
                continue
            message = block.following(reader.seq, reader.selection, reader.form)
            reader.seq = block.upto
            if message:
                await reader.say(message)
            await turn.end_if_long()

    async def _read_log(self, reader: Reader) -> None:
        """Read a page. One that may hold a DAG that is newer than the reader's rights is read again."""
        page = await self._database.read(
            lambda connection: log_page.read(connection, reader.cursor, reader.selection)
        )
        if reader.rights is not None:
            await self._logged.catch_up()
            if reader.to_be_asked:
                return
        reader.move(page.cursor)
        if chunk := page.encode(reader.form):
            await reader.say(body(chunk))


def _farewell(reader: Reader) -> Message:
    """The end of a feed: the reader comes back to where it was."""
    return body(reader.form.retry(_retry()) + reader.form.heartbeat(reader.cursor), more=False)


def _retry() -> int:
    return random.randint(*RETRY_MS)  # noqa: S311 (spreads load, guards nothing)
