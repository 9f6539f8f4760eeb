"""The mail thread of an incident: its earlier deliveries by the same rule to the same recipient.

All of them are one conversation in the recipient's mailbox.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, or_, select, update

from monitor.database.schema import deliveries, notification_incidents, notifications
from monitor.database.statements import BulkInsert, KeyLookup, Statement
from monitor.notifications.outbox.enqueue import is_in_state
from monitor.notifications.outbox.records import WAITING, Delivery, NotificationKind, State
from monitor.rules.targets import Target

REFERENCES = 20  # Message-IDs: RFC 5322 lets the middle go, and an incident may last for weeks
TOLD = (State.SENT.value, State.UNCERTAIN.value)
ON_THEIR_WAY = (State.SENDING.value, *(state.value for state in WAITING))


@dataclass(frozen=True)
class MessageThread:
    """The conversation before one delivery, empty for its first."""

    references: tuple[str, ...]
    """Message-IDs, the root first: what References holds (RFC 5322 section 3.6.4)."""
    subject: str | None
    """The root's: mailboxes join what has the same subject."""
    is_waiting: bool
    """True if an earlier delivery of the conversation is still on its way."""

    @property
    def is_notified(self) -> bool:
        """True if the recipient was notified of any part of the conversation."""
        return bool(self.references)


_TELLS_OF = KeyLookup(notification_incidents, ("notification_id",))
_TOLD = (
    select(
        notification_incidents.c.incident_id,
        *(deliveries.c[name] for name in ("id", "rule", "channel", "recipient")),
        *(deliveries.c[name] for name in ("message_id", "subject", "state")),
    )
    .select_from(notification_incidents)
    .join(deliveries, deliveries.c.notification_id == notification_incidents.c.notification_id)
    .where(
        notification_incidents.c.incident_id.in_(bindparam("incidents", expanding=True)),
        deliveries.c.recipient.in_(bindparam("recipients", expanding=True)),
        deliveries.c.rule.in_(bindparam("rules", expanding=True)),
    )
    .order_by(deliveries.c.id)
)
"""The deliveries about these incidents to any of these recipients, by any of these rules, oldest first."""

DeliveryRow = Row[Any]


def threads(connection: Connection, of: Sequence[Delivery]) -> dict[int, MessageThread]:
    """Return the conversation before each delivery.
    A notification may report several incidents, and what was sent about any of them is before it."""
    incidents: dict[int, set[int]] = {}
    for row in _TELLS_OF.rows(connection, {(delivery.notification_id,) for delivery in of}):
        incidents.setdefault(row["notification_id"], set()).add(row["incident_id"])
    delivery_rows = _load_delivery_rows(
        connection,
        set().union(*incidents.values()),
        {delivery.rule for delivery in of},
        {delivery.recipient for delivery in of},
    )
    return {
        delivery.id: _thread(
            row
            for row in delivery_rows
            if _is_before(row, delivery, incidents.get(delivery.notification_id, ()))
        )
        for delivery in of
    }


def _is_before(row: DeliveryRow, delivery: Delivery, incidents: Collection[int]) -> bool:
    return (
        row.id < delivery.id
        and row.incident_id in incidents
        and (row.rule, row.channel, row.recipient)
        == (delivery.rule, delivery.channel.value, delivery.recipient)
    )


def _thread(before: Iterable[DeliveryRow]) -> MessageThread:
    rows = {row.id: row for row in before}.values()  # a notification of several incidents has a row for each
    sent_rows = [row for row in rows if row.state in TOLD]
    ids = tuple(row.message_id for row in sent_rows)
    return MessageThread(
        references=ids if len(ids) <= REFERENCES else (ids[0], *ids[1 - REFERENCES :]),
        subject=sent_rows[0].subject if sent_rows else None,
        is_waiting=any(row.state in ON_THEIR_WAY for row in rows),
    )


_TELLS = BulkInsert(
    notification_incidents, lambda insert: insert(notification_incidents).on_conflict_do_nothing()
)


def link_incident(connection: Connection, notification_id: int, incident_id: int) -> None:
    """Link a notification with an incident.
    Repeating this is safe: a notification may report many failures of an incident."""
    _TELLS.rows(connection, [{"incident_id": incident_id, "notification_id": notification_id}])


def open_with_next(connection: Connection, incident_id: int, opening: Delivery, now: datetime) -> None:
    """Turn the waiting follow-up into the opening, due now, because the incident's opening is not sent."""
    linked = select(notification_incidents.c.notification_id).where(
        notification_incidents.c.incident_id == incident_id
    )
    waiting = select(notifications.c.id, notifications.c.rule).where(
        notifications.c.kind == NotificationKind.FOLLOW_UP.value,
        notifications.c.sealed_at.is_(None),
        notifications.c.id.in_(linked),
    )
    values = {"kind": opening.kind.value, "template": opening.template}
    # The rule is compared in Python. Otherwise SQLite would go through all waiting rows by the rule.
    ids = [row.id for row in connection.execute(waiting) if row.rule == opening.rule]
    statement = update(notifications).where(notifications.c.id.in_(ids))
    connection.execute(statement.values(due_at=now, **values))
    conditions = (deliveries.c.notification_id.in_(ids), is_in_state(*WAITING))
    connection.execute(update(deliveries).where(*conditions).values(next_attempt_at=now, **values))


def find_last_due(connection: Connection, incident_id: int, rule: str) -> datetime | None:
    """Return when a rule's latest notification of an incident was due, or None."""
    joined = notification_incidents.join(
        notifications, notifications.c.id == notification_incidents.c.notification_id
    )
    query = (
        select(func.max(notifications.c.due_at))
        .select_from(joined)
        .where(notification_incidents.c.incident_id == incident_id, notifications.c.rule == rule)
    )
    moment: datetime | None = connection.execute(query).scalar_one()
    return moment


# In the order of the notifications: the opening tells of an incident, and stands before thousands of others.
_NOTIFIED = Statement(
    lambda _insert: (
        select(deliveries.c.id)
        .select_from(notification_incidents)
        .join(deliveries, deliveries.c.notification_id == notification_incidents.c.notification_id)
        .where(
            notification_incidents.c.incident_id == bindparam("incident_id"),
            *(deliveries.c[name] == bindparam(name) for name in ("rule", "channel", "recipient")),
            or_(*(deliveries.c.state == state for state in (*TOLD, *ON_THEIR_WAY))),
        )
        .order_by(notification_incidents.c.notification_id)
        .limit(1)
    )
)


def is_notified(connection: Connection, incident_id: int, rule: str, target: Target) -> bool:
    """Return True if this rule has notified the target of an incident, or is about to."""
    whom = {"recipient": target.recipient, "channel": target.channel.value}
    return _NOTIFIED.first(connection, incident_id=incident_id, rule=rule, **whom) is not None


def _load_delivery_rows(
    connection: Connection, incidents: Collection[int], rules: Collection[str], recipients: Collection[str]
) -> Sequence[DeliveryRow]:
    if not incidents:
        return ()
    parameters = {"incidents": sorted(incidents), "rules": sorted(rules), "recipients": sorted(recipients)}
    return connection.execute(_TOLD, parameters).all()
