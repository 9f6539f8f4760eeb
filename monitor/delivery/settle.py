"""The end of an attempt: its outcome in the ledger, and the events about it.

`settle_delivery` writes the outcome of an attempt (attempt.py).

`settle_delivery` also takes back the failures that Airflow denies (`untrue`, found by confirm.py).
An incident without any other failure is retracted. Any other incident then begins with its next failure.

`log_trouble` logs an event about a delivery that could not be made or waits for the next day. Rules can
report that event by another channel. A delivery that itself reports such an event causes no event, because
the events would never end.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence, Set
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

UNTRUE = "Airflow took its failures back"


def settle_delivery(
    connection: Connection,
    delivery: Delivery,
    outcome: DeliveryOutcome | ToDigest,
    untrue: Set[int],
    now: datetime,
    host: str,
) -> DeliveryOutcome:
    """Store the outcome and return it as it is stored. Raise LeaseLost, which undoes the transaction.

    - `untrue`: the failures (seqs) in the delivery that were none.
    - `host`: the right side of a digest's Message-ID.
    """
    if untrue:
        append.lock(connection)  # no failure joins an incident while it is found to be none
        because = UNTRUE
        if isinstance(outcome, DeliveryOutcome) and outcome.state is State.SUPERSEDED:
            because = outcome.reason
        _take_back(connection, delivery, untrue, because, now)
    if isinstance(outcome, ToDigest):
        outcome = outbox_decisions.move_to_digest(connection, delivery, now, outcome.due, host)
    queue.settle(connection, delivery, outcome, now)
    return outcome


def _take_back(
    connection: Connection, delivery: Delivery, untrue: Set[int], because: str, now: datetime
) -> None:
    """Retract the incidents whose failures are all untrue, and let the others begin with a true one.

    If this delivery reports nothing else of such an incident, its true failures are reported at once."""
    decisions = outbox_decisions.decisions_of_notification(connection, delivery.notification_id)
    counts = Counter(decision.incident_id for decision in decisions)
    untrue_counts = Counter(decision.incident_id for decision in decisions if decision.event_seq in untrue)
    named = (incident_id for incident_id in untrue_counts if incident_id is not None)
    for incident in incidents.find_all(connection, named).values():
        if not incident.is_open:
            continue
        if left := read.parse_each(_remaining_failures(connection, incident, untrue)):
            first_seq, first = left[0]
            latest = incident_order.latest_of_failures(connection, [event for _, event in left])
            incidents.begin_later(connection, incident.id, len(left), first_seq, first, latest)
            if counts[incident.id] == untrue_counts[incident.id]:
                threads.open_with_next(connection, incident.id, delivery, now)
        elif incident.failures <= untrue_counts[incident.id]:
            incidents.retract(connection, incident.id, because, now)


def _remaining_failures(connection: Connection, incident: Incident, untrue: Set[int]) -> list[LoggedEvent]:
    """Return the incident's failures without the untrue ones and those that were taken back before."""
    decided = {
        decision.event_seq for decision in outbox_decisions.decisions_of_incident(connection, incident.id)
    }
    left = {seq for seq in decided if seq >= incident.opened_seq} - untrue
    return read.find_by_seqs(connection, left)


OF_A_DELIVERY = "delivery:"
"""The beginning of these events' ids (monitor/events/from_watches.py)."""
REPORTED = (State.DEAD, State.PARKED)

Committed = Callable[[], None]
"""A function to call once the transaction is committed: it wakes the readers of the log."""
Log = Callable[[Connection, Sequence[Event]], Committed]
"""`Ingest.log`, for callers with a transaction of their own."""

logger = logging.getLogger(__name__)


def log_trouble(
    connection: Connection,
    log: Log | None,
    delivery: Delivery,
    outcome: DeliveryOutcome | ToDigest,
    now: datetime,
) -> Committed:
    """Log an event if the delivery was not made. It belongs to the transaction that settles the delivery.

    It comes before the settlement, because the log's lock comes before that of any row, as in ingest.
    """
    if log is None or isinstance(outcome, ToDigest) or outcome.state not in REPORTED:
        return _nothing
    if delivery.event_id.startswith(OF_A_DELIVERY):
        return _nothing
    try:
        event = _event(delivery, outcome, now)
    except EventError:
        # The delivery has to be settled, whatever is wrong with the event about it.
        logger.exception("delivery %d: no event can be made of it", delivery.id)
        return _nothing
    return log(connection, [event])


def _nothing() -> None:
    """Do nothing, because nothing was logged."""


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
