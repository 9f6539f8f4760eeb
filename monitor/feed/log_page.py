"""The feed's reads of the log, for readers that are further back than the tape reaches."""

from dataclasses import dataclass

from sqlalchemy import Connection

from monitor import event_log
from monitor.event_log import Cursor, Logged
from monitor.feed.forms import Form
from monitor.feed.selection import Selection
from monitor.feed.starts import Start
from monitor.feed.tape import BLOCK_BYTES

PAGE = 100  # events read, encoded and written at once: all that a reader costs in memory,
PAGE_CHARACTERS = BLOCK_BYTES  # of their bodies, where they are long; usual ones have 1,000 each


@dataclass(frozen=True)
class Beginning:
    """Where a reader really begins: where it wished to; if that is gone, at the oldest event kept."""

    cursor: Cursor
    lost: str | None = None

    def encode(self, form: Form) -> bytes:
        """A reader that is cut off before any event comes back to this place."""
        return form.reset(self.lost, self.cursor) if self.lost else form.heartbeat(self.cursor)


@dataclass(frozen=True)
class LogPage:
    """What comes next: events, the place behind them, and why the reader had to begin anew, if so."""

    events: list[Logged]
    cursor: Cursor
    begun: Beginning

    def encode(self, form: Form) -> bytes:
        reset = self.begun.encode(form) if self.begun.lost else b""
        epoch = self.cursor.epoch
        return reset + b"".join(form.event(f"{epoch}-{one.seq}", one.type, one.body) for one in self.events)


def begin(connection: Connection, start: Start) -> Beginning:
    return _beginning(event_log.state(connection), start(connection))


def read(connection: Connection, cursor: Cursor, selection: Selection) -> LogPage:
    state = event_log.state(connection)
    begun = _beginning(state, cursor)
    found = event_log.read_after(
        connection, begun.cursor.seq, PAGE, selection.wanted, selection.visible, PAGE_CHARACTERS
    )
    return LogPage(found.events, Cursor(state.epoch, found.upto), begun)


def _beginning(state: event_log.LogState, cursor: Cursor) -> Beginning:
    lost = state.expired(cursor)
    return Beginning(Cursor(state.epoch, state.pruned_seq) if lost else cursor, lost)
