"""One reader of the feed: a place in the log, what it wants, and how it is sent to."""

from asyncio import Task, get_running_loop
from collections.abc import Awaitable, Callable
from dataclasses import replace
from math import inf

from monitor.event_log import Cursor, LoggedDags, Visible
from monitor.feed.block import Message
from monitor.feed.forms import Form
from monitor.feed.offer import Send
from monitor.feed.selection import Selection

RIGHTS_SECONDS = 5.0  # how long a reader's rights hold without being asked for again

Rights = Callable[[], Awaitable[Visible]]
"""What the reader may see, asked again and again while it reads. Raises FeedEnded."""


class FeedEnded(Exception):
    """The reader may not go on: signed out, or refused by Airflow."""


class Reader:
    """Everything that an open feed costs beside its connection: kept small, there may be ten thousand."""

    __slots__ = (
        *("asked", "epoch", "form", "live", "logged", "rights", "selection", "send", "seq", "spoke", "task"),
        *("version", "whose"),
    )

    def __init__(
        self,
        selection: Selection,
        form: Form,
        send: Send,
        rights: Rights | None,
        logged: LoggedDags,
        whose: str | None = None,
    ) -> None:
        self.selection = selection
        self.form = form
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
        self.asked = -inf
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
        self.asked, self.version = get_running_loop().time(), self.logged.version
        visible = await self.rights()
        if visible != self.selection.visible:
            self.selection = replace(self.selection, visible=visible)

    @property
    def to_be_asked(self) -> bool:
        """What it may see was asked a while ago, or the log has a DAG that is newer than the answer."""
        if self.rights is None:
            return False
        return self.version != self.logged.version or get_running_loop().time() - self.asked >= RIGHTS_SECONDS

    def must_be_asked(self) -> None:
        """What it may see may have changed."""
        self.asked = -inf

    def move(self, cursor: Cursor) -> None:
        self.epoch, self.seq = cursor.epoch, cursor.seq

    async def say(self, message: Message) -> None:
        """Send, and wait for as long as the reader takes."""
        self.spoke = get_running_loop().time()
        await self.send(message)
