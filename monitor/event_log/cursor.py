"""The cursor, which is a place in the log, and the state of the log that a cursor is checked against.

`Cursor.parse` reads a cursor that a client sent (web/api/feed.py). `LogState.expiry_reason` says why a feed
cannot continue from a cursor. The feed then begins with a reset (feed/connections.py).
"""

import re
from dataclasses import dataclass

from sqlalchemy import Connection, select

from monitor.database.schema import log_state
from monitor.errors import CursorError

_CURSOR = re.compile(r"([0-9a-f]{1,32})-(\d{1,18})")


@dataclass(frozen=True)
class Cursor:
    """A place in one log: everything up to and including seq has been read."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read `epoch-seq`. Raises CursorError."""
        match = _CURSOR.fullmatch(text.strip())
        if not match:
            raise CursorError(f"cursor: {text[:60]!r} is not of the form epoch-seq, such as 1a2b3c4d-42")
        return cls(match[1], int(match[2]))


@dataclass(frozen=True)
class LogState:
    """The log's epoch and bounds."""

    epoch: str
    last_seq: int
    pruned_seq: int

    def expiry_reason(self, cursor: Cursor) -> str | None:
        """Return why reading cannot go on from this cursor, or None if it can."""
        if cursor.epoch != self.epoch:
            return "the cursor is of another log (epoch)"
        if cursor.seq < self.pruned_seq:
            return "the cursor is older than what the log keeps"
        if cursor.seq > self.last_seq:
            return "the cursor is ahead of the log"
        return None


def state(connection: Connection) -> LogState:
    """Read the log's epoch and bounds."""
    row = connection.execute(select(log_state.c.epoch, log_state.c.last_seq, log_state.c.pruned_seq)).one()
    return LogState(row.epoch, row.last_seq, row.pruned_seq)
