"""The context of claimed deliveries, read from the database in one go.

`load_contexts` reads each table once for all deliveries. `build_envelope` makes of a context the addresses,
the thread and the links of its message, and `build_payload` what a webhook sends.
"""

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from monitor.delivery.messages.content import ContentData, NotificationContent, load_content_data
from monitor.delivery.messages.links import Links
from monitor.delivery.messages.mime import Envelope
from monitor.delivery.messages.renderer import RenderedMessage
from monitor.event_log import read
from monitor.event_log.projections import dags
from monitor.events.event import Event
from monitor.events.identity import stamp
from monitor.notifications import incidents, silences
from monitor.notifications.incidents import Incident
from monitor.notifications.outbox import already_sent, decisions, enqueue
from monitor.notifications.outbox import threads as outbox_threads
from monitor.notifications.outbox.records import Delivery, NotificationKind
from monitor.notifications.outbox.threads import MessageThread
from monitor.notifications.silences import Silence
from monitor.rules.ruleset import Rules
from monitor.rules.targets import ChannelName

SHOWN = 50  # events that one mail lists. Earlier events are counted
COUNTED = 10_000  # events of one notification that are counted at the most
OPENINGS_WITHIN = timedelta(hours=6)  # in which openings are counted where the rule is gone


@dataclass(frozen=True, kw_only=True)
class DeliveryContext(NotificationContent):
    """The content of a delivery's message, with its outbox row and its silences.
    Its events are the latest SHOWN that the log still has."""

    seqs: tuple[int, ...]
    """The events' numbers in the log."""
    silenced: tuple[str | None, ...]
    """For each event the silence that covers it by now, in words."""
    thread: MessageThread
    unsubscribed: bool
    keys: tuple[str, ...]
    """The keys in the journal of what is reported (notifications/outbox/already_sent.py)."""
    is_asked: bool = False
    """True if the deployment's Airflow can be asked, so that a reported end is confirmed (confirm.py)."""
    content_data: ContentData | None = None
    """The projections' rows about these events, if they were read with them."""


def load_contexts(
    connection: Connection,
    deliveries: Sequence[Delivery],
    rules: Rules,
    now: datetime,
    asked_deployments: Container[str] = (),
) -> dict[int, DeliveryContext]:
    """Return the contexts by the delivery's id, without those whose notification is gone.

    `asked_deployments`: the deployments whose Airflow is asked first. Their projections are read after that.
    """
    keys = already_sent.keys_of(connection, deliveries)
    notifications = enqueue.notifications_of(connection, (item.notification_id for item in deliveries))
    seqs = decisions.event_seqs_of(connection, notifications, COUNTED)
    events = _events(connection, {seq for some in seqs.values() for seq in some[-SHOWN:]}, now)
    by_id = incidents.find_all(connection, (item.incident_id for item in deliveries if item.incident_id))
    threads = outbox_threads.threads(connection, deliveries)
    readers = {(item.recipient, item.rule) for item in deliveries if item.channel is ChannelName.EMAIL}
    gone = silences.find_unsubscribed(connection, readers)
    found = {}
    for delivery in deliveries:
        if (notification := notifications.get(delivery.notification_id)) is None:
            continue
        listed = [seq for seq in seqs[notification.id][-SHOWN:] if seq in events]
        incident = by_id.get(delivery.incident_id or 0)
        context = DeliveryContext(
            delivery=delivery,
            notification=notification,
            events=tuple(events[seq][0] for seq in listed),
            incident=incident and incident.drop_lapsed(now),
            earlier=max(0, len(seqs[notification.id]) - SHOWN),
            seqs=tuple(listed),
            silenced=tuple(events[seq][1] for seq in listed),
            thread=threads[delivery.id],
            unsubscribed=delivery.channel is ChannelName.EMAIL
            and (delivery.recipient, delivery.rule) in gone,
            keys=keys[delivery.id],
            is_asked=notification.deployment in asked_deployments,
        )
        found[delivery.id] = replace(
            context,
            openings=_count_openings(connection, context, rules, now),
            content_data=None if context.is_asked else load_content_data(connection, context),
        )
    return found


def _events(connection: Connection, seqs: set[int], now: datetime) -> dict[int, tuple[Event, str | None]]:
    """Return the events that the log still has, each with the silence that covers it."""
    logged = read.find_by_seqs(connection, seqs)
    events = dict(read.parse_each(logged))
    active = silences.active(connection, now)
    return {seq: (event, _covering_silence(connection, event, active)) for seq, event in events.items()}


def _covering_silence(connection: Connection, event: Event, active: Sequence[Silence]) -> str | None:
    found = silences.first_of(active, dags.facts_of(connection, event)) if active else None
    return str(found) if found else None


def _count_openings(connection: Connection, context: DeliveryContext, rules: Rules, now: datetime) -> int:
    """Return how often the like of the incident opened lately, if the message reports that."""
    incident = context.incident
    if incident is None or context.delivery.kind is not NotificationKind.FLAPPING:
        return 0
    rule = next((rule for rule in rules.config.rules if rule.name == context.delivery.rule), None)
    within = rule.flapping.within if rule and rule.flapping else OPENINGS_WITHIN
    return len(incidents.recent(connection, incident.deployment, incident.key, now - within))


UNDONE = (NotificationKind.RECOVERED, NotificationKind.SUCCESS, NotificationKind.DIGEST)
"""The kinds after which there is nothing to acknowledge."""


def build_envelope(links: Links, context: DeliveryContext, timezone: str) -> Envelope:
    """Return the envelope of a delivery: its address, its thread and its links."""
    delivery, lead, incident = context.delivery, context.lead, context.incident
    may_acknowledge = incident and incident.is_open and delivery.kind not in UNDONE
    is_mail = delivery.channel is ChannelName.EMAIL
    # A digest reports many DAGs.
    is_digest = delivery.kind is NotificationKind.DIGEST
    silence_label, silence_url = ("", None) if is_digest else _silence_link(links, incident, lead)
    return Envelope(
        message_id=delivery.message_id,
        recipient=delivery.recipient,
        rule=delivery.rule,
        timezone=timezone,
        references=context.thread.references,
        subject=context.thread.subject,
        silence_url=silence_url,
        silence_label=silence_label,
        acknowledge_url=links.acknowledge(incident.id) if incident and may_acknowledge else None,
        unsubscribe_url=links.unsubscribe(delivery.recipient, delivery.rule) if is_mail else None,
    )


def _silence_link(links: Links, incident: Incident | None, lead: Event | None) -> tuple[str, str | None]:
    """Return the link's label and the link. It silences what the mail is about, and never more."""
    if incident is not None:
        return f"Silence this {'DAG' if incident.is_of_dag else 'incident'}", links.silence_incident(
            incident.id
        )
    fields = silences.build_silence_fields(lead) if lead else {}
    if lead is None or not fields:
        return "", None
    what = "asset" if "asset" in fields else "task" if "task_id" in fields else "DAG"
    if "type" in fields:
        what = "kind of message"
    return f"Silence this {what}", links.silence(lead.deployment, **fields)


def build_payload(
    content: NotificationContent, envelope: Envelope, rendered: RenderedMessage
) -> Mapping[str, Any]:
    """Return the body of a webhook."""
    delivery, notification = content.delivery, content.notification
    return {
        "type": f"windsock.notification.{notification.kind.value}",
        "timestamp": stamp(notification.created_at),
        "data": {
            "message_id": delivery.message_id,
            "deployment": notification.deployment,
            "rule": delivery.rule,
            "kind": notification.kind.value,
            "subject": rendered.subject,
            "title": rendered.title,
            "incident": _incident(content.incident),
            "events": [json.loads(event.body) for event in content.events],
            "earlier": content.earlier,
            "unconfirmed": content.unconfirmed,
            "links": {"silence": envelope.silence_url, "acknowledge": envelope.acknowledge_url},
        },
    }


def _incident(incident: Incident | None) -> dict[str, Any] | None:
    if incident is None:
        return None
    return {
        "id": incident.id,
        "key": incident.key,
        "dag_id": incident.dag_id,
        "title": incident.title,
        "state": incident.state,
        "failures": incident.failures,
        "opened_at": stamp(incident.opened_at),
        "closed_at": stamp(incident.closed_at) if incident.closed_at else None,
        "flapping": incident.flapping,
        "acknowledged_by": incident.acked_by,
    }
