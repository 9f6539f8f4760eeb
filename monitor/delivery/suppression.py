"""The reasons not to send a delivery now: silences, acknowledgments, and the daily mail budget.

`suppress` finds reasons that arose after the decision: a silence, an acknowledgment, an unsubscription, or a
failure that was not notified. Each suppressed delivery ends with its reason.

`DeliveryBudget` limits the mails of an account in 24 hours, and keeps a reserve for urgent mails. The budget
stays below the server's own limit. At that limit Gmail takes nothing for a day, mails about failures
included. When little is left, mails that are not urgent move to a digest."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.delivery.context import DeliveryContext
from monitor.delivery.retry import look_again
from monitor.notifications.outbox import decisions
from monitor.notifications.outbox.records import Delivery, DeliveryOutcome, NotificationKind, State
from monitor.rules.model import Budget as Limits
from monitor.rules.ruleset import Rules
from monitor.rules.targets import ChannelName

AFTER_ACKNOWLEDGEMENT = (NotificationKind.FOLLOW_UP, NotificationKind.REMINDER)
"""The kinds that are needless once the incident is acknowledged or has ended."""

NOTHING_TOLD = DeliveryOutcome(State.SUPERSEDED, "superseded: nobody was notified of this failure")


def suppress(context: DeliveryContext, now: datetime) -> DeliveryContext | DeliveryOutcome:
    """Return the context without silenced events, or the outcome if nothing is sent, or not yet."""
    return _check_delivery(context, now) or _check_recovery(context, now) or drop_silenced(context)


def _check_delivery(context: DeliveryContext, now: datetime) -> DeliveryOutcome | None:
    delivery, incident = context.delivery, context.incident
    if context.unsubscribed:
        return _suppress(f"{delivery.recipient} has unsubscribed from the rule {delivery.rule!r}")
    if delivery.kind in AFTER_ACKNOWLEDGEMENT and incident and incident.acked_by is not None:
        return _suppress(
            f"incident {incident.id} is acknowledged by {incident.acked_by}: {incident.ack_reason}"
        )
    if delivery.kind in AFTER_ACKNOWLEDGEMENT and incident and not incident.is_open:
        if context.is_asked and incident.confirm_at is not None:
            reason = "waits: Airflow is asked whether the incident is over"
            return DeliveryOutcome(State.PENDING, reason, look_again(context.notification.due_at, now))
        reason = f"superseded: incident {incident.id} is over ({incident.closed_because})"
        return DeliveryOutcome(State.SUPERSEDED, reason)
    return None


def _check_recovery(context: DeliveryContext, now: datetime) -> DeliveryOutcome | None:
    """Return the outcome of a recovery that is needless or too early.

    It goes to recipients who were notified of the failure, and after that notification. No such notification
    is needed if the recovery reports failures itself, which waited in its group.
    """
    if context.delivery.kind is not NotificationKind.RECOVERED:
        return None
    if context.thread.is_waiting:
        reason = "waits for a notification of the failure that is still to be sent"
        return DeliveryOutcome(State.PENDING, reason, look_again(context.notification.due_at, now))
    if not context.thread.is_notified and len(context.events) + context.earlier <= 1:
        return NOTHING_TOLD
    return None


def drop_silenced(context: DeliveryContext) -> DeliveryContext | DeliveryOutcome:
    """Return the context without the events that a silence covers by now, or the outcome if none is left."""
    reasons = context.silenced
    if not any(reasons):
        return context
    # A recovery reports its success. If the success is silenced, the whole recovery is.
    if all(reasons) or (context.delivery.kind is NotificationKind.RECOVERED and reasons[-1]):
        text = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
        return DeliveryOutcome(State.SUPPRESSED, f"suppressed by {text}")
    left = [at for at, reason in enumerate(reasons) if reason is None]
    return replace(
        context,
        seqs=tuple(context.seqs[at] for at in left),
        events=tuple(context.events[at] for at in left),
        silenced=tuple(reasons[at] for at in left),
        content_data=None,
    )


def _suppress(why: str) -> DeliveryOutcome:
    return DeliveryOutcome(State.SUPPRESSED, f"suppressed: {why}")


WINDOW = timedelta(hours=24)
RECOUNT = timedelta(seconds=10)  # other replicas send too. In between, this replica adds its own deliveries
MARGIN = timedelta(seconds=1)  # a place is free just after its 24 hours, by two clocks
TAKEN = (State.SENT, State.UNCERTAIN)


@dataclass(frozen=True)
class ToDigest:
    """The outcome of a delivery that moves to the recipient's digest, due at this moment."""

    due: datetime


class DeliveryBudget:
    """The daily budget of one channel and one account, which is mail's."""

    def __init__(self, rules: Callable[[], Rules], channel: ChannelName = ChannelName.EMAIL) -> None:
        self._rules = rules
        self._channel = channel
        self._counted: int = 0
        self._counted_at: datetime | None = None
        self._since = 0
        self._out: set[int] = set()

    def has_room(self, delivery: Delivery, now: datetime) -> bool:
        """Take room and return True, if it is known without counting that room is left."""
        if delivery.channel is not self._channel:
            return True
        limits = self._rules().config.budget
        if not self._is_counted(now) or self._taken >= limits.daily - limits.reserve:
            return False
        self._out.add(delivery.id)
        return True

    def check_room(
        self, connection: Connection, delivery: Delivery, now: datetime
    ) -> DeliveryOutcome | ToDigest | None:
        """Return the outcome if no room is left. Otherwise take the room, until `release`."""
        if delivery.channel is not self._channel:
            return None
        limits = self._rules().config.budget
        used = self._count_used(connection, now)
        if delivery.kind is not NotificationKind.DIGEST:
            if not delivery.kind.is_urgent and used >= limits.daily - limits.reserve:
                return ToDigest(now + limits.digest_every)
            if used >= limits.daily:
                return self._park(connection, limits, used, now)
        self._out.add(delivery.id)
        return None

    def release(self, delivery: Delivery, state: State | None) -> None:
        """Free the room of a delivery that is settled. `state` is None if its outcome is unknown."""
        if delivery.id in self._out:
            self._out.discard(delivery.id)
            self._since += state in TAKEN

    def _count_used(self, connection: Connection, now: datetime) -> int:
        if not self._is_counted(now):
            self._since = 0
            self._counted = decisions.count_sent(connection, self._channel, now - WINDOW)
            self._counted_at = now
        return self._taken

    def _is_counted(self, now: datetime) -> bool:
        return self._counted_at is not None and now - self._counted_at < RECOUNT

    @property
    def _taken(self) -> int:
        return self._counted + self._since + len(self._out)

    def _park(self, connection: Connection, limits: Limits, used: int, now: datetime) -> DeliveryOutcome:
        # Each waits for a place of its own: all of them at the first one would be parked again and again.
        before = decisions.count_parked(connection, self._channel) % max(1, used)
        oldest = decisions.frees_at(connection, self._channel, now - WINDOW, before)
        until = (oldest or now) + WINDOW + MARGIN
        reason = f"the budget of {limits.daily} mails in 24 hours is used"
        return DeliveryOutcome(State.PARKED, f"parked until {until:%Y-%m-%d %H:%M} UTC: {reason}", until)
