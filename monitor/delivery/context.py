"""The context of claimed deliveries, read from the database in one go.

`load_contexts` reads each table once for all deliveries.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.delivery.messages.content import ContentData, NotificationContent, load_content_data
from monitor.event_log import read
from monitor.event_log.projections import dags
from monitor.events.event import Event
from monitor.notifications import incidents, silences
from monitor.notifications.incidents import Incident
from monitor.notifications.outbox import already_sent, decisions, enqueue
from monitor.notifications.outbox import threads as outbox_threads
from monitor.notifications.outbox.records import Delivery, Notification, NotificationKind
from monitor.notifications.outbox.threads import MessageThread
from monitor.notifications.silences import Silence
from monitor.rules.ruleset import Rules
from monitor.rules.targets import ChannelName

TOLD = 50  # events that one mail lists; those before are counted
COUNTED = 10_000  # events of one notification that are counted at the most
OPENINGS_WITHIN = timedelta(hours=6)  # in which openings are counted where the rule is gone


@dataclass(frozen=True)
class DeliveryContext:
    delivery: Delivery
    notification: Notification
    seqs: tuple[int, ...]
    events: tuple[Event, ...]
    """The latest TOLD of them that the log still has, oldest first."""
    silenced: tuple[str | None, ...]
    """Of each event: the silence that covers it by now, in words."""
    earlier: int
    incident: Incident | None
    thread: MessageThread
    openings: int
    unsubscribed: bool
    keys: tuple[str, ...]
    """Of what it tells of, in the journal (notifications/outbox/already_sent.py)."""
    is_asked: bool = False
    """Whether its Airflow can be asked, so that an end that was reported is confirmed (confirm.py)."""
    content_data: ContentData | None = None
    """What the projections know of these events, where it was read with them."""


def load_contexts(
    connection: Connection,
    deliveries: Sequence[Delivery],
    rules: Rules,
    now: datetime,
    asked_deployments: Container[str] = (),
) -> dict[int, DeliveryContext]:
    """By the delivery's id, each table read once for them all. One whose notification is gone is left out.

    `asked_deployments`: the deployments whose Airflow is asked before they are told: what the projections
    know is read then.
    """
    keys = already_sent.keys_of(connection, deliveries)
    notifications = enqueue.notifications_of(connection, (item.notification_id for item in deliveries))
    seqs = decisions.event_seqs_of(connection, notifications, COUNTED)
    events = _events(connection, {seq for some in seqs.values() for seq in some[-TOLD:]}, now)
    by_id = incidents.find_all(connection, (item.incident_id for item in deliveries if item.incident_id))
    threads = outbox_threads.threads(connection, deliveries)
    readers = {(item.recipient, item.rule) for item in deliveries if item.channel is ChannelName.EMAIL}
    gone = silences.find_unsubscribed(connection, readers)
    found = {}
    for delivery in deliveries:
        if (notification := notifications.get(delivery.notification_id)) is None:
            continue
        listed = [seq for seq in seqs[notification.id][-TOLD:] if seq in events]
        incident = by_id.get(delivery.incident_id or 0)
        these = tuple(events[seq][0] for seq in listed)
        earlier = max(0, len(seqs[notification.id]) - TOLD)
        content = NotificationContent(delivery, notification, these, incident, earlier=earlier)
        found[delivery.id] = DeliveryContext(
            delivery=delivery,
            notification=notification,
            seqs=tuple(listed),
            events=these,
            silenced=tuple(events[seq][1] for seq in listed),
            earlier=earlier,
            incident=incident,
            thread=threads[delivery.id],
            openings=_openings(connection, delivery, incident, rules, now),
            unsubscribed=delivery.channel is ChannelName.EMAIL
            and (delivery.recipient, delivery.rule) in gone,
            keys=keys[delivery.id],
            is_asked=notification.deployment in asked_deployments,
            content_data=None
            if notification.deployment in asked_deployments
            else load_content_data(connection, content),
        )
    return found


def _events(connection: Connection, seqs: set[int], now: datetime) -> dict[int, tuple[Event, str | None]]:
    """Those that the log still has, each with the silence that covers it."""
    logged = read.find_by_seqs(connection, seqs)
    events = dict(read.parse_each(logged))
    active = silences.active(connection, now)
    return {seq: (event, _silence(connection, event, active)) for seq, event in events.items()}


def _silence(connection: Connection, event: Event, active: Sequence[Silence]) -> str | None:
    found = silences.first_of(active, dags.facts_of(connection, event)) if active else None
    return str(found) if found else None


def _openings(
    connection: Connection, delivery: Delivery, incident: Incident | None, rules: Rules, now: datetime
) -> int:
    """How often the like of the incident opened lately, where that is what is told."""
    if incident is None or delivery.kind is not NotificationKind.FLAPPING:
        return 0
    rule = next((candidate for candidate in rules.config.rules if candidate.name == delivery.rule), None)
    within = rule.flapping.within if rule and rule.flapping else OPENINGS_WITHIN
    return len(incidents.recent(connection, incident.deployment, incident.key, now - within))
