"""The subscriber of a feed: its place in the log, its filter and its rights."""

from asyncio import Future, Task, get_running_loop
from collections.abc import Awaitable, Callable
from dataclasses import replace
from math import inf

from monitor.event_log.cursor import Cursor
from monitor.event_log.deployments import LoggedDags
from monitor.event_log.filters import AllowedDags
from monitor.feed.buffer import FeedFormat, Message, Subscription

Send = Callable[[Message], Awaitable[None]]

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
        "asked_at",
        "epoch",
        "feed_format",
        "logged",
        "rights",
        "send",
        "seq",
        "spoke",
        "subscription",
        "task",
        "version",
        "waiting",
        "whose",
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
        self.waiting: Future[None] | None = None
        """The wait for news of a subscriber that has everything up to the buffer's end."""
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

    @property
    def live(self) -> bool:
        """True if the subscriber has everything and waits for news."""
        return self.waiting is not None

    def wake(self, served: int) -> None:
        """End the wait for news. Nothing up to `served` concerns a subscriber that waits."""
        if self.waiting is not None and not self.waiting.done():
            self.seq = max(self.seq, served)
            self.waiting.set_result(None)

    def is_silent(self, now: float, heartbeat: float) -> bool:
        """Return True if nothing was sent for as long as a heartbeat."""
        return now - self.spoke >= heartbeat

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
