"""What was told before of the same incident, by the same rule, to the same recipient: one conversation in a
mailbox."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, func, select

from monitor.database.bulk import Write
from monitor.database.schema import deliveries, notification_incidents, notifications
from monitor.outbox.record import Delivery
from monitor.outbox.state import WAITING, State
from monitor.rules.targets import Target

REFERENCES = 20  # Message-IDs: RFC 5322 lets the middle go, and an incident may last for weeks
TOLD = (State.SENT.value, State.UNCERTAIN.value)
ON_THEIR_WAY = (State.SENDING.value, *(state.value for state in WAITING))


@dataclass(frozen=True)
class Thread:
    """The conversation before one delivery; empty where it is the first."""

    references: tuple[str, ...]
    """Message-IDs, the root first: what References holds (RFC 5322 section 3.6.4)."""
    subject: str | None
    """The root's: mailboxes join what has the same subject."""
    is_waiting: bool
    """Whether something before it is still on its way."""

    @property
    def is_told(self) -> bool:
        """Whether the recipient was told anything of it."""
        return bool(self.references)


def thread(connection: Connection, delivery: Delivery) -> Thread:
    """A notification may tell of several incidents: what was told of any of them is before it."""
    of = select(notification_incidents.c.incident_id).where(
        notification_incidents.c.notification_id == delivery.notification_id
    )
    incidents = set(connection.execute(of).scalars())
    target = Target(delivery.channel, delivery.recipient)
    before = [row for row in _of(connection, incidents, delivery.rule, target) if row["id"] < delivery.id]
    told = [row for row in before if row["state"] in TOLD]
    ids = tuple(row["message_id"] for row in told)
    return Thread(
        references=ids if len(ids) <= REFERENCES else (ids[0], *ids[1 - REFERENCES :]),
        subject=told[0]["subject"] if told else None,
        is_waiting=any(row["state"] in ON_THEIR_WAY for row in before),
    )


_TELLS = Write(notification_incidents, lambda insert: insert(notification_incidents).on_conflict_do_nothing())


def tells_of(connection: Connection, notification_id: int, incident_id: int) -> None:
    """Safe to say twice: a notification may tell of many failures of one incident."""
    _TELLS.rows(connection, [{"incident_id": incident_id, "notification_id": notification_id}])


def last_told(connection: Connection, incident_id: int, rule: str) -> datetime | None:
    """When a rule's latest word on an incident was due; None where there was none."""
    told = notification_incidents.join(
        notifications, notifications.c.id == notification_incidents.c.notification_id
    )
    query = (
        select(func.max(notifications.c.due_at))
        .select_from(told)
        .where(notification_incidents.c.incident_id == incident_id, notifications.c.rule == rule)
    )
    moment: datetime | None = connection.execute(query).scalar_one()
    return moment


def hears(connection: Connection, incident_id: int, rule: str, target: Target) -> bool:
    """Whether the target was told of an incident by this rule, or is about to be."""
    rows = _of(connection, {incident_id}, rule, target)
    return any(row["state"] in (*TOLD, *ON_THEIR_WAY) for row in rows)


def _of(connection: Connection, incidents: set[int], rule: str, target: Target) -> Sequence[RowMapping]:
    """The deliveries that told this target of these incidents, oldest first."""
    if not incidents:
        return ()
    tells = select(notification_incidents.c.notification_id).where(
        notification_incidents.c.incident_id.in_(incidents)
    )
    columns = deliveries.c
    query = (
        select(columns.id, columns.message_id, columns.subject, columns.state)
        .where(
            columns.notification_id.in_(tells),
            columns.rule == rule,
            columns.channel == target.channel.value,
            columns.recipient == target.recipient,
        )
        .order_by(columns.id)
    )
    return connection.execute(query).mappings().all()
