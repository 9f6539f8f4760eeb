"""How a delivery is settled, in one transaction with everything that follows from it."""

import json
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from monitor import event_log, incidents, outbox
from monitor.delivery.budget import ToDigest
from monitor.events import parse_event
from monitor.incidents import Incident
from monitor.outbox import Delivery, Outcome


@dataclass(frozen=True)
class Closing:
    """What it came to, and which of the failures that it was to tell (seqs) were none, with the reason."""

    outcome: Outcome | ToDigest
    untrue: Set[int] = frozenset()
    because: str = ""


def close(connection: Connection, delivery: Delivery, closing: Closing, now: datetime, host: str) -> Outcome:
    """Answers what it was settled with. Raises LeaseLost: then the caller's transaction must be undone.

    `host`: the right side of a digest's Message-ID.
    """
    outcome = closing.outcome
    if closing.untrue:
        event_log.lock(connection)  # no failure joins an incident while it is found to be none
        _take_back(connection, delivery, closing, now)
    if isinstance(outcome, ToDigest):
        outcome = outbox.to_digest(connection, delivery, now, outcome.due, host)
    outbox.settle(connection, delivery, outcome, now)
    return outcome


def _take_back(connection: Connection, delivery: Delivery, closing: Closing, now: datetime) -> None:
    """An incident is none if all of its failures are untrue. If others have joined it, it begins with them,
    and they are told at once if nothing else is told of it here."""
    decisions = outbox.decisions_of_notification(connection, delivery.notification_id)
    told = Counter(one.incident_id for one in decisions)
    untrue = Counter(one.incident_id for one in decisions if one.event_seq in closing.untrue)
    for incident in incidents.find_all(connection, (one for one in untrue if one is not None)).values():
        if not incident.is_open:
            continue
        if left := _left(connection, incident, closing.untrue):
            events = [parse_event(json.loads(one.body)) for one in left]
            latest = incidents.latest_of_failures(connection, events)
            incidents.begin_later(connection, incident.id, len(left), left[0].seq, events[0], latest)
            if told[incident.id] == untrue[incident.id]:
                outbox.open_with_next(connection, incident.id, delivery, now)
        elif incident.failures <= untrue[incident.id]:
            incidents.retract(connection, incident.id, closing.because, now)


def _left(connection: Connection, incident: Incident, untrue: Set[int]) -> list[event_log.Logged]:
    """Its failures but for these, and those that were taken back before."""
    decided = {one.event_seq for one in outbox.decisions_of_incident(connection, incident.id)}
    left = {seq for seq in decided if seq >= incident.opened_seq} - untrue
    return event_log.of_seqs(connection, left)
