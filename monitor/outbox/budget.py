"""What the daily budget has no room for: it is told in a digest, one table of all of it, a recipient."""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, func, select

from monitor.database.schema import deliveries
from monitor.events.identity import digest
from monitor.outbox import decisions
from monitor.outbox.kinds import Kind
from monitor.outbox.put import About, Word, open_group, put
from monitor.outbox.record import Delivery, Notification, Outcome
from monitor.outbox.state import State
from monitor.rules.targets import Channel, Target

DIGEST = "digest"
"""The name of the rule that no file holds, and of its template."""


def sent_since(connection: Connection, channel: Channel, since: datetime) -> int:
    """How many deliveries of a channel a server has taken, or may have."""
    taken = [State.SENT.value, State.UNCERTAIN.value]
    query = select(func.count()).where(
        deliveries.c.channel == channel.value,
        deliveries.c.settled_at >= since,
        deliveries.c.state.in_(taken),
    )
    return connection.execute(query).scalar_one()


def to_digest(connection: Connection, delivery: Delivery, now: datetime, due: datetime, host: str) -> Outcome:
    """Tell of a delivery in its recipient's digest, which is made where none is open; answers what to settle
    the delivery with."""
    told_in = _digest_of(connection, delivery, now, due, host)
    reason = f"the daily budget had no room: reported in the digest, notification {told_in.id}"
    noted = decisions.decisions_of_notification(connection, delivery.notification_id)
    decisions.note(
        connection,
        [
            replace(
                one,
                outcome=decisions.GROUPED,
                reason=reason,
                notification_id=told_in.id,
                created_at=now,
            )
            for one in noted
        ],
    )
    return Outcome(State.SUPPRESSED, f"suppressed: {reason}")


def _digest_of(
    connection: Connection, delivery: Delivery, now: datetime, due: datetime, host: str
) -> Notification:
    group_key = digest(DIGEST, delivery.channel.value, delivery.recipient)
    found = open_group(connection, DIGEST, group_key)
    if found is not None:
        return found
    about = About(delivery.event_seq, delivery.event_id, delivery.deployment, None, None)
    word = Word(DIGEST, Kind.DIGEST, DIGEST, group_key, None, "the daily budget is low", due)
    return put(connection, about, word, [Target(delivery.channel, delivery.recipient)], now, host)


def frees_at(connection: Connection, channel: Channel, since: datetime, after: int) -> datetime | None:
    """When the oldest of those taken since then was taken, or the one `after` so many others; None: none."""
    taken = [State.SENT.value, State.UNCERTAIN.value]
    query = (
        select(deliveries.c.settled_at)
        .where(
            deliveries.c.channel == channel.value,
            deliveries.c.settled_at >= since,
            deliveries.c.state.in_(taken),
        )
        .order_by(deliveries.c.settled_at)
        .offset(after)
        .limit(1)
    )
    return connection.execute(query).scalar_one_or_none()


def parked(connection: Connection, channel: Channel) -> int:
    """How many deliveries of a channel wait for the next day."""
    query = select(func.count()).where(
        deliveries.c.state == State.PARKED.value, deliveries.c.channel == channel.value
    )
    return connection.execute(query).scalar_one()
