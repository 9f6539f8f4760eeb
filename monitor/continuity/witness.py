"""The last that this monitor has seen of the log: what a database must still have."""

from dataclasses import dataclass

from sqlalchemy import Connection

from monitor import event_log
from monitor.event_log import Cursor, Line


@dataclass(frozen=True)
class Witness:
    place: Cursor
    line: Line | None = None
    """The event there; None: only its number was read."""

    def later(self, other: "Witness | None") -> "Witness":
        """The later of the two; of two logs the one that was seen last, this one."""
        if other is None or other.place.epoch != self.place.epoch:
            return self
        return max(self, other, key=lambda one: (one.place.seq, one.line is not None))

    def is_denied(self, connection: Connection) -> bool:
        """Whether the log is without it. Where it is there, so is all that was committed before: a standby
        replays in that order."""
        state = event_log.state(connection)
        if state.epoch != self.place.epoch or self.place.seq <= state.pruned_seq:
            return False  # somebody has begun anew already; it was forgotten
        if self.place.seq > state.last_seq:
            return True
        found = event_log.lines_after(connection, self.place.seq - 1, 1)
        return self.line is not None and found != [self.line]
