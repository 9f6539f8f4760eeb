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
        """Go on in the task that awaits this; to be awaited once."""
        awaited = self._first
        while True:
            yield awaited
            try:
                awaited = self._sending.send(None)
            except StopIteration:
                return


def try_send(send: Send, message: Message) -> PendingSend | None:
    """Send without waiting; answers the rest of the send where the reader does not take it at once."""
    sending: Any = send(message)
    try:
        first = sending.send(None)
    except StopIteration:
        return None
    return PendingSend(sending, first)


RIGHTS_SECONDS = 5.0  # how long a reader's rights hold without being asked for again

Rights = Callable[[], Awaitable[AllowedDags]]
"""What the reader may see, asked again and again while it reads. Raises FeedEnded."""


class FeedEnded(Exception):
    """The reader may not go on: signed out, or refused by Airflow."""


class Subscriber:
    """Everything that an open feed costs beside its connection: kept small, there may be ten thousand."""

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
        """Served with the others; otherwise a task of its own brings it up to them."""
        self.logged = logged
        self.whose = whose
        """By what feeds are shared out; None: nobody is told apart."""
        self.asked_at = -inf
        """When it was last asked what it may see, by the loop's clock."""
        self.version = -1
        """Which DAGs the log had then."""
        self.spoke = -inf
        """When something was last sent, by the loop's clock."""
        self.task: Task[None] | None = None

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, self.seq)

    async def ask(self) -> None:
        """Ask what it may see. Raises FeedEnded."""
        if self.rights is None:
            return
        self.asked_at, self.version = get_running_loop().time(), self.logged.version
        allowed_dags = await self.rights()
        if allowed_dags != self.subscription.allowed_dags:
            self.subscription = replace(self.subscription, allowed_dags=allowed_dags)

    @property
    def to_be_asked(self) -> bool:
        """What it may see was asked a while ago, or the log has a DAG that is newer than the answer."""
        if self.rights is None:
            return False
        return (
            self.version != self.logged.version or get_running_loop().time() - self.asked_at >= RIGHTS_SECONDS
        )

    def must_be_asked(self) -> None:
        """What it may see may have changed."""
        self.asked_at = -inf

    def move(self, cursor: Cursor) -> None:
        self.epoch, self.seq = cursor.epoch, cursor.seq

    async def say(self, message: Message) -> None:
        """Send, and wait for as long as the reader takes."""
        self.spoke = get_running_loop().time()
        await self.send(message)


TURN_SECONDS = 0.005  # of work before others may run: nobody notices a wait of that length


class YieldTimer:
    """Counts time, not readers: what one reader's filter costs depends on the filter."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._began = now()

    async def yield_if_long(self) -> None:
        """Let other tasks run, where this one has lasted long enough."""
        if self._now() - self._began >= TURN_SECONDS:
            await asyncio.sleep(0)
            self._began = self._now()
