"""What the answer of a mail server, or of another receiver, means for a delivery, with the reason in words
for people.
"""

from dataclasses import replace
from datetime import datetime

from monitor.delivery.retry import GIVE_UP_AFTER, PARKED_FOR, Jitter, back_off
from monitor.mailer import OverLimit, Receipt, Refused, SendError, TryLater, Unavailable, Uncertain
from monitor.outbox import Delivery, Outcome, State


def of_receipt(
    delivery: Delivery, receipt: Receipt, problem: str | None, now: datetime, jitter: Jitter
) -> Outcome:
    """Taken, by some at least. Whoever may be told later is tried again, and nobody else."""
    note = f" (as plain text: {problem})" if problem else ""
    if not receipt.refused:
        return Outcome(State.SENT, f"sent{note}", answer=receipt.answer, remaining=())
    words = "; ".join(f"{who}: {error}" for who, error in receipt.refused.items())
    reason = f"sent to {', '.join(receipt.accepted)}{note}; not taken for {words}"
    later = tuple(who for who, error in receipt.refused.items() if not isinstance(error, Refused))
    answer = f"{receipt.answer}; {words}"
    if later:
        return again(delivery, reason, now, jitter, answer, later)
    return Outcome(State.SENT, reason, answer=answer, remaining=tuple(receipt.refused))


def of_error(delivery: Delivery, error: SendError, now: datetime, jitter: Jitter) -> Outcome:
    """Not taken, or nobody knows."""
    said = str(error)
    if isinstance(error, TryLater):
        outcome = again(delivery, f"to be tried again: {said}", now, jitter, said)
        outcome = replace(outcome, unavailable=isinstance(error, Unavailable))
        return _not_before(outcome, now + error.not_before) if error.not_before else outcome
    if isinstance(error, OverLimit):
        until = now + PARKED_FOR
        return Outcome(State.PARKED, f"parked until {until:%Y-%m-%d %H:%M} UTC: {said}", until, said)
    if isinstance(error, Uncertain):
        return Outcome(State.UNCERTAIN, f"uncertain: {said}", answer=said)
    return Outcome(State.DEAD, f"refused: {said}", answer=said)


def _not_before(outcome: Outcome, moment: datetime) -> Outcome:
    """The other side asks to be left alone until then."""
    if outcome.next_attempt_at is None:
        return outcome
    return replace(outcome, next_attempt_at=max(outcome.next_attempt_at, moment))


def again(
    delivery: Delivery,
    reason: str,
    now: datetime,
    jitter: Jitter,
    answer: str | None = None,
    remaining: tuple[str, ...] | None = None,
) -> Outcome:
    """Try later, or give up where it has been tried for long enough."""
    if now - delivery.created_at >= GIVE_UP_AFTER:
        given_up = f"given up {GIVE_UP_AFTER.days} days after the event: {reason}"
        return Outcome(State.DEAD, given_up, answer=answer, remaining=remaining)
    return Outcome(State.PENDING, reason, now + back_off(delivery.attempts, jitter), answer, remaining)
