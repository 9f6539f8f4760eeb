"""Whether mail goes out at all, from the ledger: whichever replica tries, all know."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from monitor.database.schema import deliveries, delivery_attempts
from monitor.outbox.queue import REQUEUED, UNAVAILABLE
from monitor.rules.targets import Channel

LOOKED_THROUGH = 1_000  # attempts, the latest: a server that is away gets a few an hour


@dataclass(frozen=True)
class Trouble:
    since: datetime
    error: str
    """The server's last words, or what was found instead of it."""


def trouble(connection: Connection, channel: Channel = Channel.EMAIL) -> Trouble | None:
    """Since when the one server of a channel takes nothing; None where it does, or was not asked yet."""
    columns = delivery_attempts.c
    query = (
        select(columns.at, columns.outcome, columns.answer)
        .join(deliveries, deliveries.c.id == columns.delivery_id)
        .where(deliveries.c.channel == channel.value, columns.outcome != REQUEUED)
        .order_by(columns.id.desc())
        .limit(LOOKED_THROUGH)
    )
    found: Trouble | None = None
    for row in connection.execute(query):
        if row.outcome != UNAVAILABLE:
            break
        found = Trouble(row.at, found.error if found else row.answer)
    return found
