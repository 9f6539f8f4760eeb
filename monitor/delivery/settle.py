"""The end of an attempt: its outcome in the ledger, and the events about it.

`settle_delivery` writes an outcome that others chose: retry.py after an attempt, prepare.py before one.

`settle_delivery` also takes back the failures that Airflow denies (`Settlement.untrue`, found by confirm.py).
An incident without any other failure is retracted. Any other incident then begins with its next failure.

`DeliveryEvents` logs an event about a delivery that could not be made or waits for the next day. Rules can
report that event by another channel. A delivery that itself reports such an event causes no event, because
the events would never end.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from monitor.delivery.suppression import ToDigest
from monitor.errors import EventError
from monitor.event_log import append, read
from monitor.event_log.read import LoggedEvent
from monitor.events.event import Event
from monitor.events.from_watches import WatchContext, delivery_trouble
from monitor.notifications import incident_order, incidents
from monitor.notifications.incidents import Incident
from monitor.notifications.outbox import decisions as outbox_decisions
from monitor.notifications.outbox import queue, threads
from monitor.notifications.outbox.records import Delivery, DeliveryOutcome, State


@dataclass(frozen=True)
class Settlement:
    """What it came to, and which of the failures that it was to tell (seqs) were none, with the reason."""

    outcome: DeliveryOutcome | ToDigest
    untrue: Set[int] = frozenset()
    because: str = ""


def settle_delivery(
    connection: Connection, delivery: Delivery, settlement: Settlement, now: datetime, host: str
) -> DeliveryOutcome:
    """Answers what it was settled with. Raises LeaseLost: then the caller's transaction must be undone.

    `host`: the right side of a digest's Message-ID.
    """
    outcome = settlement.outcome
    if settlement.untrue:
        append.lock(connection)  # no failure joins an incident while it is found to be none
        _take_back(connection, delivery, settlement, now)
    if isinstance(outcome, ToDigest):
        outcome = outbox_decisions.move_to_digest(connection, delivery, now, outcome.due, host)
    queue.settle(connection, delivery, outcome, now)
    return outcome


def _take_back(connection: Connection, delivery: Delivery, settlement: Settlement, now: datetime) -> None:
    """An incident is none if all of its failures are untrue. If others have joined it, it begins with them,
    and they are told at once if nothing else is told of it here."""
    decisions = outbox_decisions.decisions_of_notification(connection, delivery.notification_id)
    decision_counts = Counter(incident_id.incident_id for incident_id in decisions)
    untrue = Counter(
        incident_id.incident_id for incident_id in decisions if incident_id.event_seq in settlement.untrue
    )
    for incident in incidents.find_all(
        connection, (incident_id for incident_id in untrue if incident_id is not None)
    ).values():
        if not incident.is_open:
            continue
        if left := read.parse_each(_remaining_failures(connection, incident, settlement.untrue)):
            first_seq, first = left[0]
            latest = incident_order.latest_of_failures(connection, [event for _, event in left])
            incidents.begin_later(connection, incident.id, len(left), first_seq, first, latest)
            if decision_counts[incident.id] == untrue[incident.id]:
                threads.open_with_next(connection, incident.id, delivery, now)
        elif incident.failures <= untrue[incident.id]:
            incidents.retract(connection, incident.id, settlement.because, now)


def _remaining_failures(connection: Connection, incident: Incident, untrue: Set[int]) -> list[LoggedEvent]:
    """Its failures but for these, and those that were taken back before."""
    decided = {
        decision.event_seq for decision in outbox_decisions.decisions_of_incident(connection, incident.id)
    }
    left = {seq for seq in decided if seq >= incident.opened_seq} - untrue
    return read.find_by_seqs(connection, left)


OF_A_DELIVERY = "delivery:"
"""How the ids of these events begin (monitor/events/from_watches.py)."""
TOLD_OF = (State.DEAD, State.PARKED)

Committed = Callable[[], None]
"""To be called once the transaction is committed: who reads the log is woken."""
Log = Callable[[Connection, Sequence[Event]], Committed]
"""`Ingest.log`, for those who have a transaction of their own."""

logger = logging.getLogger(__name__)


class DeliveryEvents:
    """Tells of deliveries in the transaction that settles them: neither is there without the other."""

    def __init__(self, log: Log | None) -> None:
        self._log = log

    def write(
        self, connection: Connection, delivery: Delivery, outcome: DeliveryOutcome | ToDigest, now: datetime
    ) -> Committed:
        """Before the delivery is settled: the log's lock comes before that of any row, as in ingest."""
        event = self._build_event(delivery, outcome, now)
        return self._log(connection, [event]) if self._log and event else _nothing

    def _build_event(
        self, delivery: Delivery, outcome: DeliveryOutcome | ToDigest, now: datetime
    ) -> Event | None:
        if isinstance(outcome, ToDigest) or outcome.state not in TOLD_OF:
            return None
        if delivery.event_id.startswith(OF_A_DELIVERY):
            return None
        try:
            return _event(delivery, outcome, now)
        except EventError:
            # Whatever is wrong with what is told of it, it has to be settled.
            logger.exception("delivery %d: no event can be made of it", delivery.id)
            return None


def _nothing() -> None:
    """Nothing was logged: nobody is woken."""


def _event(delivery: Delivery, outcome: DeliveryOutcome, now: datetime) -> Event:
    about = {
        "delivery_id": delivery.id,
        "dag_id": delivery.dag_id,
        "run_id": delivery.run_id,
        "channel": delivery.channel.value,
        "rule": delivery.rule,
        "reason": outcome.reason,
    }
    attempts = delivery.attempts + (outcome.answer is not None)
    context = WatchContext(delivery.deployment, now, None)
    return delivery_trouble(context, outcome.state.value, about, attempts, delivery.created_at)
