"""The writes of notifications and their deliveries into the outbox.

They are written in the transaction that logs the event, so log and outbox never disagree.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, bindparam, select, update

from monitor.database.schema import deliveries, notification_incidents, notifications
from monitor.database.statements import BulkInsert, KeyLookup, Row, Statement, plain
from monitor.database.types import read_each
from monitor.events.event import Event
from monitor.events.identity import digest
from monitor.notifications.outbox.records import WAITING, Notification, NotificationKind, State
from monitor.rules.targets import Target

_NOTIFY = Statement(
    lambda insert: insert(notifications).returning(*notifications.c),
    columns=[
        column.name for column in notifications.c if column.name not in ("id", "sealed_at", "gathered_into")
    ],
)


@dataclass(frozen=True)
class NotificationDraft:
    """A notification that is called for."""

    rule: str
    kind: NotificationKind
    template: str
    group_key: str
    incident_id: int | None
    reason: str
    due_at: datetime


@dataclass(frozen=True)
class SourceEvent:
    """The event that a delivery is filed under: the first that it reports."""

    seq: int
    event_id: str
    deployment: str
    dag_id: str | None
    run_id: str | None

    @classmethod
    def from_event(cls, seq: int, event: Event) -> "SourceEvent":
        """Return the source of an event."""
        run_id = event.get("run_id") or event.get("source_run_id")
        return cls(seq, event.id, event.deployment, event.dag_id, run_id)


def enqueue(
    connection: Connection,
    about: SourceEvent,
    draft: NotificationDraft,
    targets: Sequence[Target],
    now: datetime,
    host: str,
) -> Notification:
    """Write a notification and a delivery for each target.
    Return the notification.

    `host` is the right side of Message-IDs. They are made once and kept for every attempt (RFC 5322 section
    3.6.4)."""
    values = {name: value for name, value in vars(draft).items() if name != "reason"}
    values |= {"kind": draft.kind.value, "deployment": about.deployment, "created_at": now}
    [made] = _NOTIFY.rows(connection, **values)
    notification = Notification.from_row(made)
    if targets:
        rows = [_row(about, notification, target, draft.reason, host) for target in targets]
        _DELIVERIES.rows(connection, rows)
    return notification


_GIVEN = (
    *("event_id", "deployment", "dag_id", "run_id", "event_seq", "notification_id", "channel", "recipient"),
    *("recipients", "kind", "incident_id", "rule", "template", "state", "reason", "message_id", "attempts"),
    *("created_at", "next_attempt_at"),
)
"""The columns that a new delivery has."""
_DELIVERIES = BulkInsert(deliveries, plain(deliveries), _GIVEN)


def _row(about: SourceEvent, notification: Notification, target: Target, reason: str, host: str) -> Row:
    unique = digest(about.event_id, notification.rule, target.channel.value, target.recipient)
    return {
        **{name: value for name, value in vars(about).items() if name != "seq"},
        "event_seq": about.seq,
        "notification_id": notification.id,
        "channel": target.channel.value,
        "recipient": target.recipient,
        "recipients": [target.recipient],
        "kind": notification.kind.value,
        "incident_id": notification.incident_id,
        "rule": notification.rule,
        "template": notification.template,
        "state": State.PENDING.value,
        "reason": reason,
        "message_id": f"<windsock.{about.deployment}.{about.seq}.{notification.id}.{unique}@{host}>",
        "attempts": 0,
        "created_at": notification.created_at,
        "next_attempt_at": notification.due_at,
    }


def _latest(*more: ColumnElement[bool], is_kept_open: bool = False) -> Statement:
    of_group = (
        notifications.c.rule == bindparam("rule"),
        notifications.c.group_key == bindparam("group_key"),
    )
    query = select(notifications).where(*of_group, *more).order_by(notifications.c.id.desc()).limit(1)
    if is_kept_open:
        query = query.with_for_update(skip_locked=True)
    return Statement(lambda _insert: query)


_OPEN = _latest(notifications.c.sealed_at.is_(None), is_kept_open=True)
_LAST = _latest()


def is_in_state(*states: State) -> ColumnElement[bool]:
    """Test deliveries that other columns find. Not `IN`: SQLite would take the index on the state, and go
    through all that waits."""
    return deliveries.c.state.not_in([state.value for state in State if state not in states])


def open_group(connection: Connection, rule: str, group_key: str) -> Notification | None:
    """Return the rule's notification of this group that others may still join, or None.
    It is not claimed until the transaction ends. A notification that is being claimed is no longer open."""
    return _notification_or_none(_OPEN.first(connection, rule=rule, group_key=group_key))


def last_of_group(connection: Connection, rule: str, group_key: str) -> Notification | None:
    """Return the rule's latest notification of this group, sealed or not."""
    return _notification_or_none(_LAST.first(connection, rule=rule, group_key=group_key))


def postpone(connection: Connection, notification_id: int, due: datetime) -> None:
    """Let a notification that waits be due at this moment, and not before."""
    its_own = deliveries.c.notification_id == notification_id, is_in_state(State.PENDING)
    connection.execute(update(deliveries).where(*its_own).values(next_attempt_at=due))
    connection.execute(update(notifications).where(notifications.c.id == notification_id).values(due_at=due))


def _notification_or_none(row: Row | None) -> Notification | None:
    return next(read_each("notifications", [row] if row else [], Notification.from_row), None)


_OF_IDS = KeyLookup(notifications, ("id",))
_SEAL = update(notifications).where(
    notifications.c.id.in_(bindparam("ids", expanding=True)), notifications.c.sealed_at.is_(None)
)


def notification(connection: Connection, notification_id: int) -> Notification | None:
    """Return the notification, or None."""
    return notifications_of(connection, [notification_id]).get(notification_id)


def notifications_of(connection: Connection, ids: Iterable[int]) -> dict[int, Notification]:
    """Return the notifications that exist, by their ids."""
    found = _OF_IDS.rows(connection, ((notification_id,) for notification_id in set(ids)))
    return {
        notification_id.id: notification_id
        for notification_id in read_each("notifications", found, Notification.from_row)
    }


def seal(connection: Connection, notification_ids: Collection[int], now: datetime) -> None:
    """Seal the notifications, so that nothing joins them from now on."""
    connection.execute(_SEAL, {"ids": list(notification_ids), "sealed_at": now})


def of_incident(incident_id: int) -> tuple[ColumnElement[bool], ...]:
    """Select the notifications of one incident alone, by the table of links, which has an index."""
    linked = select(notification_incidents.c.notification_id).where(
        notification_incidents.c.incident_id == incident_id
    )
    return notifications.c.id.in_(linked), notifications.c.incident_id == incident_id


def suppress_follow_ups(connection: Connection, incident_id: int, reason: str, now: datetime) -> None:
    """Suppress the follow-ups and reminders of one incident that still wait. A notification that is about
    several incidents is left to wait."""
    kinds = [NotificationKind.FOLLOW_UP.value, NotificationKind.REMINDER.value]
    its_own = (*of_incident(incident_id), notifications.c.kind.in_(kinds))
    ids = list(connection.execute(select(notifications.c.id).where(*its_own)).scalars())
    seal(connection, ids, now)
    settle_waiting(connection, ids, State.SUPPRESSED, reason, now)


def gather(connection: Connection, notification_id: int, into: int, reason: str, now: datetime) -> None:
    """Let another notification report what this one was to report.
    A delivery that is being sent is still sent."""
    seal(connection, [notification_id], now)
    gathered = update(notifications).where(notifications.c.id == notification_id)
    connection.execute(gathered.values(gathered_into=into))
    settle_waiting(connection, [notification_id], State.SUPERSEDED, reason, now)


def settle_waiting(
    connection: Connection, notification_ids: Collection[int], state: State, reason: str, now: datetime
) -> None:
    """Settle the waiting deliveries of these notifications."""
    conditions = (
        deliveries.c.notification_id.in_(notification_ids),
        is_in_state(*WAITING),
    )
    settled = {"state": state.value, "reason": reason, "settled_at": now}
    connection.execute(update(deliveries).where(*conditions).values(settled))
