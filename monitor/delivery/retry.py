"""The outcome of an attempt, and the time of the next attempt.

`outcome_of_receipt` and `outcome_of_error` translate the answer of a mail server, or of another receiver,
into an outcome with a reason for people. The channel has already said whether the error is temporary, by the
error's class (channels/errors.py, for SMTP replies `error_of`).

`postpone` makes the outcome of a temporary error: the delivery is pending until the moment that `back_off`
chooses, or dead after `GIVE_UP_AFTER`. A pending delivery is claimed again when its moment has come
(notifications/outbox/queue.py). If a receiver names a time (Retry-After), the next attempt is not earlier.

`CircuitBreaker` leaves a server or recipient alone while it takes nothing. `look_again` chooses when a
delivery that waits for an answer of Airflow is looked at again (confirm.py)."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from monitor.delivery.channels.errors import (
    OverLimit,
    SendError,
    SendReceipt,
    SendRefused,
    TryLater,
    Unavailable,
    Uncertain,
)
from monitor.notifications.outbox.records import Delivery, DeliveryOutcome, State

FIRST = timedelta(seconds=5)  # the longest first pause: a server that restarts, a dropped connection
LONGEST = timedelta(hours=1)  # greylisting and outages end within hours, and more tries would be a nuisance
SHORTEST = timedelta(seconds=1)  # jitter may come out near nothing, and a loop must not spin
GIVE_UP_AFTER = timedelta(days=4)  # RFC 5321 4.5.4.1 asks senders for at least 4 to 5 days
PARKED_FOR = timedelta(hours=24)  # Gmail's daily limit counts the last 24 hours

LOOK_FIRST = timedelta(seconds=1)  # a hook reports just before Airflow commits
LOOK_LONGEST = timedelta(seconds=60)

Jitter = Callable[[], float]
"""A random number from 0 up to 1."""


def back_off(attempts: int, jitter: Jitter) -> timedelta:
    """Return the wait before the next attempt, exponential with full jitter.

    Many mails that failed together do not come back together.
    """
    ceiling = min(LONGEST, FIRST * (1 << min(attempts, 20)))
    return max(SHORTEST, ceiling * jitter())


def look_again(created_at: datetime, now: datetime) -> datetime:
    """Return when to ask Airflow again: after as long as it has taken so far, at most a minute."""
    return now + min(max(now - created_at, LOOK_FIRST), LOOK_LONGEST)


def outcome_of_receipt(
    delivery: Delivery, receipt: SendReceipt, problem: str | None, now: datetime, jitter: Jitter
) -> DeliveryOutcome:
    """Return the outcome when the server took the message for some recipients at least.

    Only the recipients with a temporary refusal are tried again.
    """
    note = f" (as plain text: {problem})" if problem else ""
    if not receipt.refused:
        return DeliveryOutcome(State.SENT, f"sent{note}", answer=receipt.answer, remaining=())
    text = "; ".join(f"{who}: {error}" for who, error in receipt.refused.items())
    reason = f"sent to {', '.join(receipt.accepted)}{note}; not taken for {text}"
    later = tuple(who for who, error in receipt.refused.items() if not isinstance(error, SendRefused))
    answer = f"{receipt.answer}; {text}"
    if later:
        return postpone(delivery, reason, now, jitter, answer, later)
    return DeliveryOutcome(State.SENT, reason, answer=answer, remaining=tuple(receipt.refused))


def outcome_of_error(delivery: Delivery, error: SendError, now: datetime, jitter: Jitter) -> DeliveryOutcome:
    """Return the outcome if the message was not taken, or if it is unknown whether it was."""
    text = str(error)
    if isinstance(error, TryLater):
        outcome = postpone(delivery, f"to be tried again: {text}", now, jitter, text)
        outcome = replace(outcome, unavailable=isinstance(error, Unavailable))
        return _not_before(outcome, now + error.not_before) if error.not_before else outcome
    if isinstance(error, OverLimit):
        until = now + PARKED_FOR
        return DeliveryOutcome(State.PARKED, f"parked until {until:%Y-%m-%d %H:%M} UTC: {text}", until, text)
    if isinstance(error, Uncertain):
        return DeliveryOutcome(State.UNCERTAIN, f"uncertain: {text}", answer=text)
    return DeliveryOutcome(State.DEAD, f"refused: {text}", answer=text)


def _not_before(outcome: DeliveryOutcome, moment: datetime) -> DeliveryOutcome:
    """Return the outcome with a next attempt at this moment at the earliest, as the other side asks."""
    if outcome.next_attempt_at is None:
        return outcome
    return replace(outcome, next_attempt_at=max(outcome.next_attempt_at, moment))


def postpone(
    delivery: Delivery,
    reason: str,
    now: datetime,
    jitter: Jitter,
    answer: str | None = None,
    remaining: tuple[str, ...] | None = None,
) -> DeliveryOutcome:
    """Return the outcome that tries the delivery later, or gives it up after `GIVE_UP_AFTER`."""
    if now - delivery.created_at >= GIVE_UP_AFTER:
        given_up = f"given up {GIVE_UP_AFTER.days} days after the event: {reason}"
        return DeliveryOutcome(State.DEAD, given_up, answer=answer, remaining=remaining)
    return DeliveryOutcome(
        State.PENDING, reason, now + back_off(delivery.attempts, jitter), answer, remaining
    )


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outage:
    """A server or recipient that takes nothing."""

    since: datetime
    error: str
    failures: int
    back_at: datetime
    """Until then it is left alone."""


class CircuitBreaker:
    """The pauses of a channel's servers.

    The name of a server is `""` if everything goes through one, else the recipient.
    """

    def __init__(self, channel: str, jitter: Jitter) -> None:
        self._channel = channel
        self._jitter = jitter
        self._troubles: dict[str, Outage] = {}

    def current_outage(self, whom: str, now: datetime) -> Outage | None:
        """Return the outage for which the server is left alone now."""
        found = self._troubles.get(whom)
        return found if found and now < found.back_at else None

    def record_result(self, whom: str, error: SendError | None, now: datetime) -> None:
        """Note the result of an attempt. The pause grows each time that the server is away."""
        if not isinstance(error, Unavailable):
            self._troubles.pop(whom, None)
            return
        outage = self._troubles.get(whom)
        if outage and now < outage.back_at:
            return  # several were under way when it went: that is one failure
        failures = outage.failures if outage else 0
        pause = max(back_off(failures, self._jitter), error.not_before or timedelta(0))
        since = outage.since if outage else now
        self._troubles[whom] = Outage(since, str(error), failures + 1, now + pause)
        logger.error(
            "%s %s: nothing can be sent, trying again in %.0f s: %s",
            *(self._channel, whom or "server", pause.total_seconds(), error),
        )
