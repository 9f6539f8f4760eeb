"""The subscriber of a feed, and the write to it without a task of its own.

`try_send` lets one process serve ten thousand subscribers. An ASGI server's `send` is a coroutine that
seldom waits: uvicorn writes to the socket and returns. So `try_send` drives the coroutine by hand, to its
end or to its first wait.

A coroutine that waits means a slow subscriber. A task of the subscriber then awaits the rest of that very
call (`PendingSend`). So nothing is sent twice or left out, whatever the server did before it waited.

`YieldTimer` lets other tasks run after a while. It counts time, because the cost of a subscriber depends on
its filter.
"""

import asyncio
import time
from asyncio import Task, get_running_loop
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import replace
from math import inf
from typing import Any

from monitor.event_log.cursor import Cursor
from monitor.event_log.deployments import LoggedDags
from monitor.event_log.filters import AllowedDags
from monitor.feed.buffer import FeedFormat, Message, Subscription

Send = Callable[[Message], Awaitable[None]]


class PendingSend:
    """A send under way, with what it waits for."""

    def __init__(self, sending: Coroutine[Any, Any, None], first: Any) -> None:
        self._sending = sending
        self._first = first

    def __await__(self) -> Generator[Any, Any, None]:
        """Go on in the task that awaits this object. It may be awaited once."""
        awaited = self._first
        while True:
            yield awaited
            try:
                awaited = self._sending.send(None)
            except StopIteration:
                return


def try_send(send: Send, message: Message) -> PendingSend | None:
    """Send without waiting. Return the rest of the send if the reader does not take everything at once."""
    sending: Any = send(message)
    try:
        first = sending.send(None)
    except StopIteration:
        return None
    return PendingSend(sending, first)


RIGHTS_SECONDS = 5.0  # how long a reader's rights hold without being asked for again

Rights = Callable[[], Awaitable[AllowedDags]]
"""A function that returns what the reader may see. It is called again and again while the reader reads.
Raises FeedEnded."""


class FeedEnded(Exception):
    """The reader may not go on: signed out, or refused by Airflow."""


class Subscriber:
    """The state of an open feed, apart from its connection.
    It is kept small, because ten thousand may be open."""

    __slots__ = (
        *(
            "asked_at",
            "epoch",
            "feed_format",
            "live",
            "logged",
            "rights",
            "subscription",
            "send",
            "seq",
            "spoke",
            "task",
        ),
        *("version", "whose"),
    )

    def __init__(
        self,
        subscription: Subscription,
        feed_format: FeedFormat,
        send: Send,
        rights: Rights | None,
        logged: LoggedDags,
        whose: str | None = None,
    ) -> None:
        self.subscription = subscription
        self.feed_format = feed_format
        self.send = send
        self.rights = rights
        """None: sees everything, for as long as it likes."""
        self.epoch = ""
        self.seq = 0
        self.live = False
        """True if the reader is served with the others. Otherwise a task of its own brings it up to them."""
        self.logged = logged
        self.whose = whose
        """The key by which feeds are shared out. None if users are not distinguished."""
        self.asked_at = -inf
        """The moment, by the loop's clock, at which the rights were last asked for."""
        self.version = -1
        """The version of the log's DAGs at that moment."""
        self.spoke = -inf
        """The moment, by the loop's clock, at which anything was last sent."""
        self.task: Task[None] | None = None

    @property
    def cursor(self) -> Cursor:
        """The place up to which the reader has been served."""
        return Cursor(self.epoch, self.seq)

    async def ask(self) -> None:
        """Ask what the reader may see. Raises FeedEnded."""
        if self.rights is None:
            return
        self.asked_at, self.version = get_running_loop().time(), self.logged.version
        allowed_dags = await self.rights()
        if allowed_dags != self.subscription.allowed_dags:
            self.subscription = replace(self.subscription, allowed_dags=allowed_dags)

    @property
    def to_be_asked(self) -> bool:
        """True if the reader's rights were asked for long ago, or before the log got its newest DAG."""
        if self.rights is None:
            return False
        return (
            self.version != self.logged.version or get_running_loop().time() - self.asked_at >= RIGHTS_SECONDS
        )

    def must_be_asked(self) -> None:
        """Have the rights asked for again, because they may have changed."""
        self.asked_at = -inf

    def move(self, cursor: Cursor) -> None:
        """Set the place up to which the reader has been served."""
        self.epoch, self.seq = cursor.epoch, cursor.seq

    async def say(self, message: Message) -> None:
        """Send, and wait for as long as the reader takes."""
        self.spoke = get_running_loop().time()
        await self.send(message)


TURN_SECONDS = 0.005  # of work before others may run: a wait of that length goes unnoticed


class YieldTimer:
    """The timer after which a task lets others run.
    It counts time and not readers, because a filter's cost differs from reader to reader."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._began = now()

    async def yield_if_long(self) -> None:
        """Let other tasks run, if this one has lasted long enough."""
        if self._now() - self._began >= TURN_SECONDS:
            await asyncio.sleep(0)
            self._began = self._now()
