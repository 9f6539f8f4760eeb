"""The decisions of rules, and the daily mail budget.

`note` keeps decisions, and `decisions_of_event`, `decisions_of_notification` and `decisions_of_incident`
read them. `count_sent`, `frees_at` and `move_to_digest` hold a channel to its budget.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, Select, bindparam, func, select, update

from monitor.database.schema import decisions, deliveries
from monitor.database.statements import BulkInsert, KeyLookup, plain
from monitor.event_log.filters import AllowedDags, readable
from monitor.events.identity import digest
from monitor.notifications.outbox.enqueue import NotificationDraft, SourceEvent, enqueue, open_group
from monitor.notifications.outbox.records import (
    Decision,
    Delivery,
    DeliveryOutcome,
    Notification,
    NotificationKind,
    State,
)
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
