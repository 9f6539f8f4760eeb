"""Where a reader begins. Whether the log still reaches back to there is looked at when it is read."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection

from monitor import event_log
from monitor.event_log import Cursor

Start = Callable[[Connection], Cursor]


def from_now(connection: Connection) -> Cursor:
    """Only what comes from now on."""
    state = event_log.state(connection)
    return Cursor(state.epoch, state.last_seq)


def since(moment: datetime) -> Start:
    """What was received at a moment and later, as far as the log reaches back."""
    return lambda connection: Cursor(event_log.state(connection).epoch, event_log.seq_at(connection, moment))


def after(cursor: Cursor) -> Start:
    """What follows a cursor."""
    return lambda _connection: cursor
