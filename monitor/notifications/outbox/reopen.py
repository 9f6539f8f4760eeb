"""The changes to the ledger when a closed incident is open again.

`take_back_recovered` withdraws the notification of the end, if it still waits. `move_incident` hands the
decisions and notifications of one incident to another.
"""

from datetime import datetime

from sqlalchemy import Connection, delete, insert, literal, or_, select, update

from monitor.database.schema import decisions, deliveries, notification_incidents, notifications
from monitor.database.types import read_each
from monitor.notifications.outbox.decisions import GROUPED, SUPPRESSED
from monitor.notifications.outbox.enqueue import of_incident, seal, settle_waiting
from monitor.notifications.outbox.records import Delivery, NotificationKind, State
from monitor.notifications.outbox.threads import TOLD
from monitor.rules.targets import ChannelName


def take_back_recovered(
    connection: Connection, incident_id: int, closed_seq: int | None, because: str, now: datetime
) -> bool:
    """Withdraw waiting notifications of an incident's end.
    The follow-ups gathered into them wait again.

    `closed_seq` is the event that closed the incident. Return True if a recipient was notified of the end
    already."""
    is_notified = False
    for notification_id in _find_recovery_ids(connection, incident_id, closed_seq):
        sent = _load_deliveries(connection, notification_id)
        recipients = {
            (delivery.channel, delivery.recipient) for delivery in sent if _is_handed_over(delivery)
        }
        is_notified |= bool(recipients)
        if len(recipients) < len(sent):
            _restore_follow_ups(connection, notification_id, incident_id, recipients, because, now)
        _withdraw(connection, notification_id, incident_id, because, now)
    return is_notified


def _find_recovery_ids(connection: Connection, incident_id: int, closed_seq: int | None) -> list[int]:
    query = (
        select(notifications.c.id)
        .join(decisions, decisions.c.notification_id == notifications.c.id)
        .where(
            decisions.c.incident_id == incident_id,
            decisions.c.event_seq == closed_seq,
            notifications.c.kind == NotificationKind.RECOVERED.value,
        )
    )
    return sorted(set(connection.execute(query).scalars()))


def _load_deliveries(connection: Connection, notification_id: int) -> list[Delivery]:
    query = select(deliveries).where(deliveries.c.notification_id == notification_id)
    return list(read_each("deliveries", connection.execute(query).mappings(), Delivery.from_row))


def _is_handed_over(delivery: Delivery) -> bool:
    """Return True if a server has it, or may have it at this moment."""
    return delivery.state.value in TOLD or (
        delivery.state is State.SENDING and delivery.handed_at is not None
    )


def _restore_follow_ups(
    connection: Connection,
    recovered_id: int,
    incident_id: int,
    recipients: set[tuple[ChannelName, str]],
    because: str,
    now: datetime,
) -> None:
    gathered = select(notifications.c.id, notifications.c.due_at).where(
        notifications.c.gathered_into == recovered_id, *of_incident(incident_id)
    )
    for row in connection.execute(gathered).all():
        reason = f"it waits again: the incident is not over: {because}"
        waits = {"sealed_at": None, "gathered_into": None, "due_at": max(row.due_at, now)}
        connection.execute(update(notifications).where(notifications.c.id == row.id).values(waits))
        for delivery in _load_deliveries(connection, row.id):
            if (
                delivery.state is State.SUPERSEDED
                and (delivery.channel, delivery.recipient) not in recipients
            ):
                pending = {"state": State.PENDING.value, "reason": reason, "settled_at": None}
                pending["next_attempt_at"] = waits["due_at"]
                connection.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(pending))
        its_failures = (
            decisions.c.notification_id == recovered_id,
            decisions.c.incident_id == incident_id,
            decisions.c.outcome == GROUPED,
        )
        back = {"notification_id": row.id, "reason": f"reported with notification {row.id}: {reason}"}
        connection.execute(update(decisions).where(*its_failures).values(back))


def _withdraw(
    connection: Connection, recovered_id: int, incident_id: int, because: str, now: datetime
) -> None:
    """Take this incident's end out of a waiting notification, or withdraw it if it reports nothing else."""
    other_decisions = select(decisions.c.id).where(
        decisions.c.notification_id == recovered_id,
        or_(decisions.c.incident_id != incident_id, decisions.c.incident_id.is_(None)),
    )
    reason = f"superseded: the incident is not over: {because}"
    if connection.execute(other_decisions.limit(1)).first() is None:
        seal(connection, [recovered_id], now)  # or the next end would join it
        settle_waiting(connection, [recovered_id], State.SUPERSEDED, reason, now)
        return
    its_own = (decisions.c.notification_id == recovered_id, decisions.c.incident_id == incident_id)
    none = {"notification_id": None, "outcome": SUPPRESSED, "reason": reason}
    connection.execute(update(decisions).where(*its_own).values(none))


def move_incident(connection: Connection, from_id: int, to_id: int) -> None:
    """Let one incident have all that was decided and told of another."""
    links = notification_incidents.c
    its_notifications = select(links.notification_id).where(links.incident_id == from_id)
    moved = (
        (decisions, ()),
        (notifications, (notifications.c.id.in_(its_notifications),)),
        (deliveries, (deliveries.c.notification_id.in_(its_notifications),)),
    )
    for table, among in moved:
        its_own = update(table).where(table.c.incident_id == from_id, *among)
        connection.execute(its_own.values(incident_id=to_id))
    linked = select(links.notification_id).where(links.incident_id == to_id)
    missing = select(literal(to_id), links.notification_id).where(
        links.incident_id == from_id, links.notification_id.not_in(linked)
    )
    names = ["incident_id", "notification_id"]
    connection.execute(insert(notification_incidents).from_select(names, missing))
    connection.execute(delete(notification_incidents).where(links.incident_id == from_id))
