"""What has happened since a delivery was decided on, and speaks against it: a silence, an acknowledgement, an
unsubscription, a failure that nobody was told of. Each ends with its reason.
"""

from dataclasses import replace
from datetime import datetime

from monitor.delivery.case import Case
from monitor.delivery.retry import look_again
from monitor.outbox import Kind, Outcome, State

AFTER_ACKNOWLEDGEMENT = (Kind.FOLLOW_UP, Kind.REMINDER)
"""What is needless once somebody looks after it, or it is over."""

NOTHING_TOLD = Outcome(State.SUPERSEDED, "superseded: nobody was notified of this failure")


def against(case: Case, now: datetime) -> Outcome | None:
    """Why the recipient is not told at all, or not yet; or None."""
    return _against_delivery(case, now) or _against_recovery(case, now)


def _against_delivery(case: Case, now: datetime) -> Outcome | None:
    delivery, incident = case.delivery, case.incident
    if case.unsubscribed:
        return _suppressed(f"{delivery.recipient} has unsubscribed from the rule {delivery.rule!r}")
    if delivery.kind in AFTER_ACKNOWLEDGEMENT and incident and incident.acked_by is not None:
        return _suppressed(
            f"incident {incident.id} is acknowledged by {incident.acked_by}: {incident.ack_reason}"
        )
    if delivery.kind in AFTER_ACKNOWLEDGEMENT and incident and not incident.is_open:
        if case.is_asked and incident.confirm_at is not None:
            reason = "waits: Airflow is asked whether the incident is over"
            return Outcome(State.PENDING, reason, look_again(case.notification.due_at, now))
        reason = f"superseded: incident {incident.id} is over ({incident.closed_because})"
        return Outcome(State.SUPERSEDED, reason)
    return None


def _against_recovery(case: Case, now: datetime) -> Outcome | None:
    """A recovery is told to those who were told of the failure, and after it; one that tells of failures
    itself, which waited to be told, to those too."""
    if case.delivery.kind is not Kind.RECOVERED:
        return None
    if case.thread.is_waiting:
        reason = "waits for a notification of the failure that is still to be sent"
        return Outcome(State.PENDING, reason, look_again(case.notification.due_at, now))
    if not case.thread.is_told and len(case.events) + case.earlier <= 1:
        return NOTHING_TOLD
    return None


def without_silenced(case: Case) -> Case | Outcome:
    """The case without the events that a silence covers by now; an outcome where nothing is left to tell."""
    words = case.silenced
    if not any(words):
        return case
    # A recovery is told for its success: with that, it is silenced as a whole.
    if all(words) or (case.delivery.kind is Kind.RECOVERED and words[-1]):
        said = "; ".join(dict.fromkeys(word for word in words if word))
        return Outcome(State.SUPPRESSED, f"suppressed by {said}")
    left = [at for at, word in enumerate(words) if word is None]
    return replace(
        case,
        seqs=tuple(case.seqs[at] for at in left),
        events=tuple(case.events[at] for at in left),
        silenced=tuple(words[at] for at in left),
        known=None,
    )


def _suppressed(why: str) -> Outcome:
    return Outcome(State.SUPPRESSED, f"suppressed: {why}")
