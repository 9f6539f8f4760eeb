"""The decisions of rules, and the daily mail budget.

`note` keeps decisions, and `decisions_of_event`, `decisions_of_notification` and `decisions_of_incident`
read them. `count_sent`, `frees_at` and `move_to_digest` hold a channel to its budget.

`take_back_recovered` and `move_incident` are for a closed incident that is open again. The first one
withdraws the notification of the end, if it still waits. The second one hands decisions and notifications to
another incident."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, Select, bindparam, delete, func, insert, literal, or_, select, update

from monitor.database.schema import decisions, deliveries, notification_incidents, notifications
from monitor.database.statements import BulkInsert, KeyLookup, plain
from monitor.database.types import read_each
from monitor.event_log.filters import AllowedDags, readable
from monitor.events.identity import digest
from monitor.notifications.outbox.enqueue import (
    NotificationDraft,
    SourceEvent,
    enqueue,
    of_incident,
    open_group,
    seal,
    settle_waiting,
)
from monitor.notifications.outbox.records import (
    Decision,
    Delivery,
    DeliveryOutcome,
    Notification,
    NotificationKind,
    State,
)
from monitor.notifications.outbox.threads import TOLD
from monitor.plain_text import cut
from monitor.rules.targets import ChannelName, Target

NOTIFIED, GROUPED, SUPPRESSED = "notified", "grouped", "suppressed"
SHOWN = 500  # decisions of one notification or incident that anybody reads
MAX_REASON = 2_000  # characters: an acknowledgement's own reason, and who gave it, fit in

_NOTE = BulkInsert(decisions, plain(decisions), list(Decision.__dataclass_fields__))
_COLUMNS = [decisions.c[name] for name in Decision.__dataclass_fields__]


def note(connection: Connection, decided: Sequence[Decision]) -> None:
    """Keep them, in the transaction that logs their event."""
    _NOTE.rows(
        connection, [{**vars(decision), "reason": cut(decision.reason, MAX_REASON)} for decision in decided]
    )


def decisions_of_event(
    connection: Connection, event_id: str, deployment: str | None = None, allowed_dags: AllowedDags = None
) -> list[Decision]:
    """Return the decisions about an event."""
    query = select(*_COLUMNS).where(
        decisions.c.event_id == event_id, *readable(decisions.c.deployment, decisions.c.dag_id, allowed_dags)
    )
    if deployment is not None:
        query = query.where(decisions.c.deployment == deployment)
    return _read(connection, query)


_OF_EVENTS = KeyLookup(decisions, ("event_id",), columns=list(Decision.__dataclass_fields__))
SEARCHED = 10_000  # decisions, the latest: no index has their rules


def decisions_of_events(
    connection: Connection, event_ids: Iterable[str], allowed_dags: AllowedDags = None
) -> list[Decision]:
    """Return the decisions about several events, in the order in which they were made."""
    found = [
        Decision(**row) for row in _OF_EVENTS.rows(connection, ((event_id,) for event_id in set(event_ids)))
    ]
    seen = [
        event_id
        for event_id in found
        if allowed_dags is None or (event_id.deployment, event_id.dag_id) in allowed_dags
    ]
    return sorted(seen, key=lambda event_id: (event_id.event_seq, event_id.created_at))


def latest_of_rule(
    connection: Connection, rule: str, limit: int, allowed_dags: AllowedDags = None
) -> list[Decision]:
    """Return this rule's latest decisions, newest first, among the latest decisions of all rules."""
    newest = select(func.max(decisions.c.id)).scalar_subquery()
    query = select(*_COLUMNS).where(
        decisions.c.id > newest - SEARCHED,
        decisions.c.rule == rule,
        *readable(decisions.c.deployment, decisions.c.dag_id, allowed_dags),
    )
    rows = connection.execute(query.order_by(decisions.c.id.desc()).limit(limit)).mappings()
    return [Decision(**row) for row in rows]


def decisions_of_notification(connection: Connection, notification_id: int) -> list[Decision]:
    """Return the decisions about the events that a notification reports, oldest first."""
    return _read(connection, select(*_COLUMNS).where(decisions.c.notification_id == notification_id))


def decision_page(
    connection: Connection,
    limit: int,
    before: int | None = None,
    allowed_dags: AllowedDags = None,
    *,
    notification_id: int | None = None,
    incident_id: int | None = None,
) -> list[tuple[int, Decision]]:
    """Return the latest decisions of a notification or incident with their numbers, latest first.
    `before` is the last number of the page before."""
    group = {"notification_id": notification_id, "incident_id": incident_id}
    query = select(decisions.c.id, *_COLUMNS).where(
        *(decisions.c[name] == value for name, value in group.items() if value is not None),
        *readable(decisions.c.deployment, decisions.c.dag_id, allowed_dags),
    )
    if before is not None:
        query = query.where(decisions.c.id < before)
    rows = connection.execute(query.order_by(decisions.c.id.desc()).limit(limit))
    return [(number, Decision(*values)) for number, *values in rows]


def decisions_of_incident(connection: Connection, incident_id: int) -> list[Decision]:
    """Return the decisions about an incident's events."""
    return _read(connection, select(*_COLUMNS).where(decisions.c.incident_id == incident_id))


_SEQS = (
    select(decisions.c.notification_id, decisions.c.event_seq)
    .where(decisions.c.notification_id.in_(bindparam("ids", expanding=True)))
    .order_by(decisions.c.event_seq.desc())
    .limit(bindparam("most"))
)


def event_seqs(connection: Connection, notification_id: int, limit: int) -> list[int]:
    """Return the seqs of the latest `limit` events that a notification reports, oldest first."""
    return event_seqs_of(connection, [notification_id], limit)[notification_id]


def event_seqs_of(
    connection: Connection, notification_ids: Iterable[int], limit: int
) -> dict[int, list[int]]:
    """Return the seqs of the latest `limit` events that each notification reports, oldest first."""
    ids = set(notification_ids)
    rows = connection.execute(_SEQS, {"ids": sorted(ids), "most": limit}).all()
    if len(rows) == limit and len(ids) > 1:  # one of them may have kept out the others'
        return {notification_id: event_seqs(connection, notification_id, limit) for notification_id in ids}
    found: dict[int, set[int]] = {notification_id: set() for notification_id in ids}
    for row in rows:
        found[row.notification_id].add(row.event_seq)
    return {notification_id: sorted(seqs) for notification_id, seqs in found.items()}


def count_suppressed(connection: Connection) -> dict[str, int]:
    """Return how often each rule decided to make no notification."""
    query = (
        select(decisions.c.rule, func.count().label("number"))
        .where(decisions.c.outcome == SUPPRESSED)
        .group_by(decisions.c.rule)
    )
    return {row.rule: row.number for row in connection.execute(query)}


def move(connection: Connection, from_id: int, to_id: int, reason: str) -> None:
    """Move the decisions of one notification to another, which reports their events."""
    values = {"notification_id": to_id, "outcome": GROUPED, "reason": reason}
    connection.execute(update(decisions).where(decisions.c.notification_id == from_id).values(values))


def _read(connection: Connection, query: Select[tuple[object, ...]]) -> list[Decision]:
    found = connection.execute(query.order_by(decisions.c.event_seq, decisions.c.id).limit(SHOWN))
    return [Decision(**row) for row in found.mappings()]


DIGEST = "digest"
"""The name of the rule that no file holds, and of its template."""


def count_sent(connection: Connection, channel: ChannelName, since: datetime) -> int:
    """Return the number of a channel's deliveries that a server has taken, or may have."""
    taken = [State.SENT.value, State.UNCERTAIN.value]
    query = select(func.count()).where(
        deliveries.c.channel == channel.value,
        deliveries.c.settled_at >= since,
        deliveries.c.state.in_(taken),
    )
    return connection.execute(query).scalar_one()


def move_to_digest(
    connection: Connection, delivery: Delivery, now: datetime, due: datetime, host: str
) -> DeliveryOutcome:
    """Move a delivery into its recipient's digest, which is made if none is open.
    Return the outcome for the delivery."""
    digest = _digest_of(connection, delivery, now, due, host)
    reason = f"the daily budget had no room: reported in the digest, notification {digest.id}"
    noted = decisions_of_notification(connection, delivery.notification_id)
    note(
        connection,
        [
            replace(
                decision,
                outcome=GROUPED,
                reason=reason,
                notification_id=digest.id,
                created_at=now,
            )
            for decision in noted
        ],
    )
    return DeliveryOutcome(State.SUPPRESSED, f"suppressed: {reason}")


def _digest_of(
    connection: Connection, delivery: Delivery, now: datetime, due: datetime, host: str
) -> Notification:
    group_key = digest(DIGEST, delivery.channel.value, delivery.recipient)
    found = open_group(connection, DIGEST, group_key)
    if found is not None:
        return found
    about = SourceEvent(delivery.event_seq, delivery.event_id, delivery.deployment, None, None)
    draft = NotificationDraft(
        DIGEST, NotificationKind.DIGEST, DIGEST, group_key, None, "the daily budget is low", due
    )
    return enqueue(connection, about, draft, [Target(delivery.channel, delivery.recipient)], now, host)


def frees_at(connection: Connection, channel: ChannelName, since: datetime, after: int) -> datetime | None:
    """Return when the oldest delivery taken since then, or the one `after` so many others, was taken."""
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


def count_parked(connection: Connection, channel: ChannelName) -> int:
    """Return the number of a channel's deliveries that wait for the next day."""
    query = select(func.count()).where(
        deliveries.c.state == State.PARKED.value, deliveries.c.channel == channel.value
    )
    return connection.execute(query).scalar_one()


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
    """Move the decisions, notifications and deliveries of one incident to another."""
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
