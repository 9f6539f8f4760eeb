"""Python runs this first where this folder is on its path: a log whose appends are not serialised, so that
the proof can be seen to fail. Seqs are drawn as a PostgreSQL sequence gives them: at once, for good, and
whoever commits when.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from monitor.event_log import append as event_log_append
from monitor.event_log import read
from monitor.events.event import Event

_DRAW = text("UPDATE log_state SET last_seq = last_seq + :number RETURNING last_seq - :number")


_lock = event_log_append.lock


def lock(connection: Connection) -> Any:
    """Had and given back at once: nobody else is kept out."""
    with connection.engine.begin() as at_once:
        return _lock(at_once)


def append(
    connection: Connection, batch: Sequence[Event], received_at: datetime, end: Any = None
) -> list[int | None]:
    known = read.find_logged(connection, map(event_log_append.name_of, batch))
    new = list(
        {(event.source, event.id): event for event in batch if (event.source, event.id) not in known}.values()
    )
    with connection.engine.begin() as at_once:
        first = int(at_once.execute(_DRAW, {"number": len(new)}).scalar_one()) + 1
    seqs = {event.id: first + place for place, event in enumerate(new)}
    event_log_append._APPEND.rows(
        connection, [event_log_append._row(event, seqs[event.id], received_at) for event in new]
    )
    return [seqs.pop(event.id, None) for event in batch]


event_log_append.lock = lock
event_log_append.append = append
