"""What has happened since a delivery was decided on, and speaks against it: a silence, an acknowledgement, an
unsubscription, a failure that nobody was told of. Each ends with its reason.
"""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from monitor import board, silences, unsubscribed
from monitor.delivery.case import Case
from monitor.delivery.retry import look_again
from monitor.events import Event
from monitor.incidents import Incident
from monitor.outbox import Delivery, Kind, Notification, Outcome, State, Thread
from monitor.rules import Channel

AFTER_ACKNOWLEDGEMENT = (Kind.FOLLOW_UP, Kind.REMINDER)
"""What is needless once somebody looks after it, or it is over."""


def against_delivery(connection: Connection, delivery: Delivery, incident: Incident | None) -> Outcome | None:
    """Why the recipient is not told at all, or None."""
    is_mail = delivery.channel is Channel.EMAIL
    if is_mail and unsubscribed.is_unsubscribed(connection, delivery.recipient, delivery.rule):
        return _suppressed(f"{delivery.recipient} has unsubscribed from the rule {delivery.rule!r}")
    if delivery.kind in AFTER_ACKNOWLEDGEMENT and incident and incident.acked_by is not None:
        return _suppressed(
            f"incident {incident.id} is acknowledged by {incident.acked_by}: {incident.ack_reason}"
        )
    if delivery.kind in AFTER_ACKNOWLEDGEMENT and incident and not incident.is_open:
        reason = f"superseded: incident {incident.id} is over ({incident.closed_because})"
        return Outcome(State.SUPERSEDED, reason)
    return None


def against_recovery(
    delivery: Delivery, thread: Thread, notification: Notification, now: datetime
) -> Outcome | None:
    """A recovery is told to those who were told of the failure, and after it."""
    if delivery.kind is not Kind.RECOVERED:
        return None
    if thread.is_waiting:
        reason = "waits for what is still to be told of the failure"
        return Outcome(State.PENDING, reason, look_again(notification.due_at, now))
    if not thread.is_told:
        return Outcome(State.SUPERSEDED, "superseded: nothing was told of this failure")
    return None


def without_silenced(connection: Connection, case: Case, now: datetime) -> Case | Outcome:
    """The case without the events that a silence covers by now; an outcome where nothing is left to tell."""
    words = [_silence(connection, event, now) for event in case.events]
    # A recovery is told for its success: with that, it is silenced as a whole.
    if all(words) or (case.delivery.kind is Kind.RECOVERED and words[-1]):
        said = "; ".join(dict.fromkeys(word for word in words if word))
        return Outcome(State.SUPPRESSED, f"suppressed by {said}")
    left = [at for at, word in enumerate(words) if word is None]
    return replace(
        case,
        seqs=tuple(case.seqs[at] for at in left),
        events=tuple(case.events[at] for at in left),
    )


def _silence(connection: Connection, event: Event, now: datetime) -> str | None:
    silence = silences.covering(connection, board.facts_of(connection, event), now)
    return str(silence) if silence else None


def _suppressed(why: str) -> Outcome:
    return Outcome(State.SUPPRESSED, f"suppressed: {why}")
