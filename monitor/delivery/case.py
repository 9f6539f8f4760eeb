"""What a claimed delivery is about, read from the database at once."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor import event_log, incidents, outbox
from monitor.events import Event, parse_event
from monitor.incidents import Incident
from monitor.outbox import Delivery, Kind, Notification, Thread
from monitor.rules import Rules

TOLD = 50  # events that one mail lists; those before are counted
COUNTED = 10_000  # events of one notification that are counted at the most
OPENINGS_WITHIN = timedelta(hours=6)  # in which openings are counted where the rule is gone


@dataclass(frozen=True)
class Case:
    delivery: Delivery
    notification: Notification
    seqs: tuple[int, ...]
    events: tuple[Event, ...]
    """The latest TOLD of them that the log still has, oldest first."""
    earlier: int
    incident: Incident | None
    thread: Thread
    openings: int


def case_of(connection: Connection, delivery: Delivery, rules: Rules, now: datetime) -> Case | None:
    """None where its notification is gone."""
    notification = outbox.notification(connection, delivery.notification_id)
    if notification is None:
        return None
    seqs = list(dict.fromkeys(outbox.event_seqs(connection, notification.id, COUNTED)))
    logged = event_log.of_seqs(connection, seqs[-TOLD:])
    incident_id = delivery.incident_id
    incident = incidents.find(connection, incident_id) if incident_id is not None else None
    return Case(
        delivery=delivery,
        notification=notification,
        seqs=tuple(found.seq for found in logged),
        events=tuple(parse_event(json.loads(found.body)) for found in logged),
        earlier=len(seqs) - min(len(seqs), TOLD),
        incident=incident,
        thread=outbox.thread(connection, delivery),
        openings=_openings(connection, delivery, incident, rules, now),
    )


def _openings(
    connection: Connection, delivery: Delivery, incident: Incident | None, rules: Rules, now: datetime
) -> int:
    """How often the like of the incident opened lately, where that is what is told."""
    if incident is None or delivery.kind is not Kind.FLAPPING:
        return 0
    rule = next((one for one in rules.config.rules if one.name == delivery.rule), None)
    within = rule.flapping.within if rule and rule.flapping else OPENINGS_WITHIN
    return len(incidents.recent(connection, incident.deployment, incident.key, now - within))


def none_but(connection: Connection, case: Case, untrue: set[int]) -> tuple[int, ...]:
    """The incidents all of whose failures are among these events (seqs), which were taken back."""
    by_incident: dict[int, int] = {}
    for decision in outbox.decisions_of_notification(connection, case.notification.id):
        if decision.incident_id is not None and decision.event_seq in untrue:
            by_incident[decision.incident_id] = by_incident.get(decision.incident_id, 0) + 1
    found = ((incidents.find(connection, one), number) for one, number in by_incident.items())
    return tuple(one.id for one, number in found if one and one.is_open and one.failures <= number)
