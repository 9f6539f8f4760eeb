"""The notifications that were sent since the backup from which the database was restored.

A restored database does not know them. The journals of the monitors do (monitor/delivery/sent_journal.py).
The same holds for a database that lost its last moments (monitor/delivery/failover.py). Only this module
names the table of these deliveries.

A mail is recognized by its content and not by its number. The reconciler fills in the events since the
backup in another order, so other deliveries get the numbers. The keys of a mail name each event that it
reported, with the rule, the channel and the recipient (`keys_of`).

`keep` writes such a notification into the ledger as sent, and it is not sent again. It keeps its first
Message-ID, so the notifications that follow are in the same thread."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from monitor.database.schema import decisions, deliveries, delivery_attempts
from monitor.database.schema import told_before as table
from monitor.database.statements import KeyLookup, Statement, SweepResult, oldest
from monitor.database.types import note_unreadable, read_each
from monitor.event_log.read import IDS_A_QUERY
from monitor.events.event import Event
from monitor.events.identity import digest
from monitor.notifications.outbox.enqueue import NotificationDraft, SourceEvent, enqueue, seal
from monitor.notifications.outbox.queue import REQUEUED
from monitor.notifications.outbox.records import Delivery, Notification, NotificationKind, State
from monitor.notifications.outbox.threads import ON_THEIR_WAY
from monitor.rules.targets import Target

CLOCKS = timedelta(seconds=30)  # by which the clocks of two monitors may differ
NUMBERED = "delivery:"
"""The beginning of the ids of events about deliveries. Their numbers are given anew after a restore, so
nothing is recognized by them."""


@dataclass(frozen=True)
class PriorDelivery:
    """The time of an earlier delivery, and how sure it is."""

    state: State
    at: datetime
    message_id: str
    subject: str | None

    @property
    def reason(self) -> str:
        """The reason for people."""
        moment = f"{self.at:%Y-%m-%d %H:%M:%S} UTC, before the database was restored"
        if self.state is State.SENT:
            return f"sent on {moment}: the journal has it"
        return f"uncertain: handed to the server on {moment}; the journal has no answer"


_DECIDED = KeyLookup(decisions, ("notification_id",), columns=("notification_id", "event_id", "rule"))


def keys_of(connection: Connection, deliveries: Sequence[Delivery]) -> dict[int, tuple[str, ...]]:
    """Return the keys of everything that each delivery reports, by the delivery's id."""
    events_by_notification: dict[int, set[tuple[str, str]]] = {
        notification_id.notification_id: set() for notification_id in deliveries
    }
    for row in _DECIDED.rows(connection, ((notification_id,) for notification_id in events_by_notification)):
        events_by_notification[row["notification_id"]].add((row["event_id"], row["rule"]))
    return {
        notification_id.id: tuple(
            _keys(notification_id, events_by_notification[notification_id.notification_id])
        )
        for notification_id in deliveries
    }


def _keys(delivery: Delivery, events: Iterable[tuple[str, str]]) -> Iterator[str]:
    target = Target(delivery.channel, delivery.recipient)
    for event_id, rule in sorted(events):
        if not event_id.startswith(NUMBERED):
            yield _key(delivery.deployment, event_id, rule, target, delivery.kind)


def _key(deployment: str, event_id: str, rule: str, target: Target, kind: NotificationKind) -> str:
    again = (
        NotificationKind.REMINDER.value if kind is NotificationKind.REMINDER else ""
    )  # a reminder reports the same once more, and is no second delivery of it
    return digest(deployment, event_id, rule, target.channel.value, target.recipient, again)


_OF_KEYS = KeyLookup(table, ("key",))
_ANY = Statement(lambda _insert: select(table.c.key).limit(1))


def any_at_all(connection: Connection) -> bool:
    """Return True if anything is to be looked up, which is so only after a recent restore."""
    return _ANY.first(connection) is not None


def find_prior_deliveries(
    connection: Connection,
    event: Event,
    rule: str,
    kind: NotificationKind,
    targets: Sequence[Target],
    since: datetime | None = None,
) -> dict[Target, PriorDelivery]:
    """Return the recipients that a rule has notified of an event already.
    A reminder counts if it came after `since`, the last notification that the database knows."""
    keys = {_key(event.deployment, event.id, rule, target, kind): target for target in targets}
    found = _load_by_keys(connection, keys)
    prior_deliveries = {keys[key]: before for key, before in found.items()}
    if kind is NotificationKind.REMINDER and since is not None:
        return {target: before for target, before in prior_deliveries.items() if before.at > since}
    return prior_deliveries


def keep(
    connection: Connection,
    about: SourceEvent,
    draft: NotificationDraft,
    prior_deliveries: Mapping[Target, PriorDelivery],
    now: datetime,
    host: str,
) -> Notification:
    """Write a notification that was sent earlier into the ledger, and return it."""
    made = enqueue(connection, about, draft, list(prior_deliveries), now, host)
    seal(connection, [made.id], now)
    rows = connection.execute(select(deliveries).where(deliveries.c.notification_id == made.id)).mappings()
    for delivery in [Delivery.from_row(row) for row in rows.all()]:
        _settle(connection, delivery, prior_deliveries[Target(delivery.channel, delivery.recipient)])
    return made


def _settle(connection: Connection, delivery: Delivery, before: PriorDelivery) -> None:
    values = {
        "state": before.state.value,
        "reason": before.reason,
        "message_id": before.message_id,
        "subject": before.subject or delivery.subject,
        "remaining": [] if before.state is State.SENT else list(delivery.remaining),
        "settled_at": before.at,
        "claim": None,
        "lease_until": None,
        "handed_at": None,
    }
    connection.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(values))
    row = {"at": before.at, "outcome": before.state.value, "answer": before.reason}
    connection.execute(insert(delivery_attempts).values(delivery_id=delivery.id, **row))


def earliest_waiting(connection: Connection) -> datetime | None:
    """Return when the oldest delivery that is not settled was made."""
    query = select(deliveries.c.created_at).where(deliveries.c.state.in_(ON_THEIR_WAY))
    return connection.execute(query.order_by(deliveries.c.created_at).limit(1)).scalar_one_or_none()


def restore(connection: Connection, prior_deliveries: Mapping[str, PriorDelivery]) -> list[int]:
    """Store these earlier deliveries and no others, by their keys.
    Settle waiting deliveries that were sent before, and return their ids. No monitor may run meanwhile."""
    connection.execute(delete(table))
    _insert_keys(connection, prior_deliveries)
    on_their_way = select(deliveries).where(deliveries.c.state.in_(ON_THEIR_WAY)).order_by(deliveries.c.id)
    settled = []
    rows = connection.execute(on_their_way).mappings().all()
    for delivery in read_each("deliveries", rows, Delivery.from_row):
        keys = keys_of(connection, [delivery])[delivery.id]
        if before := _match_prior(connection, delivery, keys, prior_deliveries, delivery.created_at - CLOCKS):
            _settle(connection, delivery, before)
            seal(connection, [delivery.notification_id], before.at)
            settled.append(delivery.id)
    return settled


def add(connection: Connection, prior_deliveries: Mapping[str, PriorDelivery]) -> None:
    """Store these earlier deliveries too.
    A waiting delivery that was sent before is found when it is claimed (`sift`)."""
    if prior_deliveries:
        keys = [{"of": key} for key in prior_deliveries]
        connection.execute(delete(table).where(table.c.key == bindparam("of")), keys)
    _insert_keys(connection, prior_deliveries)


def _insert_keys(connection: Connection, prior_deliveries: Mapping[str, PriorDelivery]) -> None:
    rows = [
        {
            "key": key,
            "state": prior_delivery.state.value,
            **{name: getattr(prior_delivery, name) for name in _FIELDS},
        }
        for key, prior_delivery in prior_deliveries.items()
    ]
    if rows:
        connection.execute(insert(table), rows)


_FIELDS = ("at", "message_id", "subject")


def sift(connection: Connection, claimed: Sequence[Delivery]) -> list[Delivery]:
    """Settle claimed deliveries that were sent before without the ledger's knowledge.
    Return the rest. A delivery that was tried or asked for since is known. A reminder does not count as sent
    because of an earlier reminder."""
    if not claimed or not any_at_all(connection):
        return list(claimed)
    keys, left = keys_of(connection, claimed), []
    prior_deliveries = _load_by_keys(connection, set().union(*keys.values()))
    for delivery in claimed:
        since = delivery.created_at - CLOCKS if delivery.kind is NotificationKind.REMINDER else None
        before = _match_prior(connection, delivery, keys[delivery.id], prior_deliveries, since)
        if before is None or _has_attempt(connection, delivery.id, before.at):
            left.append(delivery)
        else:
            _settle(connection, delivery, before)
    return left


def _match_prior(
    connection: Connection,
    delivery: Delivery,
    keys: Sequence[str],
    prior_deliveries: Mapping[str, PriorDelivery],
    since: datetime | None,
) -> PriorDelivery | None:
    """Return the earlier delivery of all `keys` that came after the last request for a resend, or None.
    If no resend was asked for, deliveries before `since` do not count."""
    found = [prior_deliveries.get(key) for key in keys]
    attempts = select(delivery_attempts.c.at).where(
        delivery_attempts.c.delivery_id == delivery.id, delivery_attempts.c.outcome == REQUEUED
    )
    since = max(connection.execute(attempts).scalars(), default=since)
    if not found or not all(
        prior_delivery and (since is None or prior_delivery.at >= since) for prior_delivery in found
    ):
        return None
    return max(
        (prior_delivery for prior_delivery in found if prior_delivery),
        key=lambda prior_delivery: prior_delivery.at,
    )


def find_unrecorded(connection: Connection, handed: Mapping[str, datetime]) -> set[str]:
    """Return the Message-IDs whose handover the ledger does not know.
    The ledger lacks the delivery, or has it as not handed over and knows of no attempt since. `handed` maps
    Message-IDs to the handover."""
    left, ids = set(handed), list(handed)
    for start in range(0, len(ids), IDS_A_QUERY):
        some = deliveries.c.message_id.in_(ids[start : start + IDS_A_QUERY])
        for row in connection.execute(select(*_STANDING).where(some)):
            is_handed = row.state not in ON_THEIR_WAY or row.handed_at is not None
            if is_handed or _has_attempt(connection, row.id, handed[row.message_id]):
                left.discard(row.message_id)
    return left


_STANDING = [deliveries.c[name] for name in ("id", "message_id", "state", "handed_at")]


def _has_attempt(connection: Connection, delivery_id: int, since: datetime) -> bool:
    conditions = (delivery_attempts.c.delivery_id == delivery_id, delivery_attempts.c.at >= since)
    return connection.execute(select(delivery_attempts.c.at).where(*conditions).limit(1)).first() is not None


def _load_by_keys(connection: Connection, keys: Iterable[str]) -> dict[str, PriorDelivery]:
    rows = _OF_KEYS.rows(connection, [(key,) for key in keys])
    return {
        row["key"]: PriorDelivery(_state_of(row), row["at"], row["message_id"], row["subject"])
        for row in rows
    }


def _state_of(row: Mapping[str, Any]) -> State:
    """Return the row's state.
    A state of another release counts as uncertain, and the message is not sent again."""
    try:
        return State(row["state"])
    except ValueError as error:
        note_unreadable(table.name, row, error)
        return State.UNCERTAIN


def forget(connection: Connection, before: datetime) -> SweepResult:
    """Delete earlier deliveries from before a moment."""
    return oldest(connection, table, table.c.at, table.c.at < before)
