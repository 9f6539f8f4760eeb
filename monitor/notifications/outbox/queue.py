"""The queue of deliveries: claimed under a lease, handed over, settled.

Two columns say after a crash what may be done again. `lease_until` says how long a claim holds. `handed_at`
is committed just before the mail server is contacted.

A lease can end without a settlement before the hand-over. No server has seen the mail, so it is sent. A
lease can also end after the hand-over. A server may have taken the mail, so the delivery is uncertain and is
never sent again automatically.

The claim's token is the fence. If the lease has ended, the claimer finds another token in the row, or none,
and changes nothing.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BindParameter, Connection, Select, bindparam, func, select, update

from monitor.database.pubsub import DELIVERY, signal
from monitor.database.schema import deliveries, delivery_attempts, notifications
from monitor.database.statements import Statement
from monitor.database.types import read_each
from monitor.errors import WindsockError
from monitor.notifications.outbox.enqueue import seal
from monitor.notifications.outbox.records import (
    WAITING,
    Delivery,
    DeliveryOutcome,
    State,
    TransitionError,
    check,
)
from monitor.plain_text import cut
from monitor.rules.targets import ChannelName

REQUEUED = "requeued"
MOST_RESENDS = 20  # of a delivery, in RESENDS_WITHIN: each is a mail to everybody that it is for
RESENDS_WITHIN = timedelta(days=1)
UNAVAILABLE = "unavailable"
"""The ledger's outcome for an attempt without a server that could take anything."""
_WAITING = [state.value for state in WAITING]
MAX_WORDS = 2_000  # characters of a reason or an answer: a server's reply, and what Airflow said, fit in
CRASHED = "the monitor ended between handing the mail to the server and noting the server's answer"


class TooManyResends(WindsockError):
    """A delivery was asked for again as often as anybody may. The message says the remedy."""


class LeaseLost(WindsockError):
    """The delivery is no longer this claimer's: its lease ended and another took it up, or settled it."""


def _bind_params(*names: str) -> dict[str, BindParameter[Any]]:
    """Return parameters for columns' values under names that no column has."""
    return {name: bindparam(f"_{name}_", type_=deliveries.c[name].type) for name in names}


def claim(
    connection: Connection, now: datetime, lease: timedelta, channel: ChannelName = ChannelName.EMAIL
) -> Delivery | None:
    """Claim the channel's delivery that has been due longest and seal its notification.
    Return None if nothing is due."""
    return next(iter(claim_some(connection, now, lease, channel, 1)), None)


def claim_some(
    connection: Connection, now: datetime, lease: timedelta, channel: ChannelName, most: int
) -> list[Delivery]:
    """Claim the channel's longest due deliveries, at most so many, and seal their notifications.

    SKIP LOCKED: two monitors never take the same delivery. None takes a delivery that an event is just
    joining, because the event would count as reported in a mail that does not have it."""
    # One query a state, so that each reads the first entries of an index, however many rows wait.
    rows = [row for due in _DUE for row in due.rows(connection, of=channel.value, now=now, most=most)]
    readable = _read_or_give_up(connection, rows, now)
    due = sorted(readable, key=lambda item: (item.next_attempt_at, item.id))[:most]
    for delivery in due:
        check(delivery.state, State.SENDING)
    until = now + lease
    taken = [
        replace(item, state=State.SENDING, claim=_token(), lease_until=until, handed_at=None) for item in due
    ]
    for item in taken:
        _MARK.rows(connection, of=item.id, token=item.claim, until=until)
    if taken:
        seal(connection, {item.notification_id for item in taken}, now)
    return taken


_MARK = Statement(
    lambda _insert: (
        update(deliveries)
        .where(deliveries.c.id == bindparam("of"))
        .values(
            state=State.SENDING.value,
            claim=bindparam("token"),
            lease_until=bindparam("until", type_=deliveries.c.lease_until.type),
            handed_at=None,
        )
    )
)


def _due(state: str) -> Statement:
    query = (
        select(deliveries)
        .join(notifications, notifications.c.id == deliveries.c.notification_id)
        .where(
            deliveries.c.state == state,
            deliveries.c.channel == bindparam("of"),
            deliveries.c.next_attempt_at <= bindparam("now"),
        )
        .order_by(deliveries.c.next_attempt_at, deliveries.c.id)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True, of=(deliveries, notifications))
    )
    return Statement(lambda _insert: query)


_DUE = [_due(state) for state in _WAITING]


def _token() -> str:
    return secrets.token_hex(16)


def renew(connection: Connection, delivery: Delivery, until: datetime) -> None:
    """Hold a claim for longer. Raises LeaseLost."""
    _write(connection, delivery, lease_until=until)


def hand_over(connection: Connection, delivery: Delivery, now: datetime, subject: str) -> None:
    """Note that from now on a mail server may have it. Commit this before giving it to the server.

    Raises LeaseLost.
    """
    _update_fenced(connection, _HAND_OVER, delivery, handed_at=now, subject=subject)


def settle(connection: Connection, delivery: Delivery, outcome: DeliveryOutcome, now: datetime) -> None:
    """Write what a claimed delivery came to. Raises LeaseLost and TransitionError."""
    check(delivery.state, outcome.state)
    remaining = delivery.remaining if outcome.remaining is None else outcome.remaining
    _update_fenced(
        connection,
        _SETTLE,
        delivery,
        state=outcome.state.value,
        reason=cut(outcome.reason, MAX_WORDS),
        next_attempt_at=outcome.next_attempt_at or delivery.next_attempt_at,
        remaining=list(remaining),
        attempts=delivery.attempts + (outcome.answer is not None),
        settled_at=None if outcome.state in WAITING else now,
    )
    if outcome.answer is not None:
        label = UNAVAILABLE if outcome.unavailable else outcome.state.value
        _note(connection, delivery.id, now, label, outcome.answer)


def reap(connection: Connection, now: datetime) -> list[Delivery]:
    """Settle what a monitor that is gone had claimed. Answers those deliveries, as they now stand."""
    ended = (
        select(deliveries)
        .where(deliveries.c.state == State.SENDING.value, deliveries.c.lease_until < now)
        .with_for_update(skip_locked=True)
    )
    lost = _read_or_give_up(connection, connection.execute(ended).mappings().all(), now)
    for delivery in lost:
        settle(connection, delivery, _outcome_of_lost(delivery, now), now)
    return [found for found in (_one(connection, _by_id(d.id)) for d in lost) if found]


UNREADABLE = "dead: its row cannot be read by this release; the log says why"


def _read_or_give_up(
    connection: Connection, rows: Sequence[Mapping[Any, Any]], now: datetime
) -> list[Delivery]:
    """Read rows that are locked. One that cannot be read is dead: it would be claimed again and again, and
    stand in the way of the others."""
    read = list(read_each("deliveries", rows, Delivery.from_row))
    if left := {row["id"] for row in rows} - {delivery.id for delivery in read}:
        values = {"state": State.DEAD.value, "reason": UNREADABLE, "settled_at": now}
        given_up = {**values, "claim": None, "lease_until": None, "handed_at": None}
        connection.execute(update(deliveries).where(deliveries.c.id.in_(left)).values(given_up))
    return read


def _outcome_of_lost(delivery: Delivery, now: datetime) -> DeliveryOutcome:
    if delivery.handed_at is None:
        return DeliveryOutcome(State.PENDING, "taken up again: the monitor ended before it was sent", now)
    return DeliveryOutcome(State.UNCERTAIN, f"uncertain: {CRASHED}", answer=CRASHED)


def requeue(connection: Connection, delivery_id: int, now: datetime) -> Delivery | None:
    """Send a delivery again at once, because a person asks: to those who lack it, or else to all.

    The ledger keeps what was before. Return None if there is no such delivery. Raises TransitionError if the
    delivery is being sent at this moment, and TooManyResends if it was asked for as often as it may be."""
    delivery = _one(connection, _by_id(delivery_id).with_for_update())
    if delivery is None:
        return None
    if delivery.state is State.SENDING:
        raise TransitionError(f"delivery {delivery_id} is sending at this moment; wait for what comes of it")
    check(delivery.state, State.PENDING)
    _require_few_resends(connection, delivery_id, now)
    _write(
        connection,
        delivery,
        state=State.PENDING,
        reason=f"asked for again (it was {delivery.state.value})",
        next_attempt_at=now,
        remaining=list(delivery.remaining or delivery.recipients),
        settled_at=None,
    )
    _note(connection, delivery_id, now, REQUEUED, f"was {delivery.state.value}: {delivery.reason}")
    signal(connection, DELIVERY)
    return _one(connection, _by_id(delivery_id))


def _require_few_resends(connection: Connection, delivery_id: int, now: datetime) -> None:
    attempts = delivery_attempts.c
    conditions = (
        attempts.delivery_id == delivery_id,
        attempts.outcome == REQUEUED,
        attempts.at > now - RESENDS_WITHIN,
    )
    if connection.execute(select(func.count()).where(*conditions)).scalar_one() >= MOST_RESENDS:
        raise TooManyResends(
            f"delivery {delivery_id} was sent again {MOST_RESENDS} times within a day; mend what keeps it "
            "from arriving, and ask tomorrow"
        )


def next_due(connection: Connection, channel: ChannelName = ChannelName.EMAIL) -> datetime | None:
    """Return the earliest moment at which a channel has something to do, or None if nothing waits."""
    attempts = [
        select(func.min(deliveries.c.next_attempt_at)).where(
            deliveries.c.state == state, deliveries.c.channel == channel.value
        )
        for state in _WAITING
    ]  # one a state: each is the first entry of an index
    lease = select(func.min(deliveries.c.lease_until)).where(deliveries.c.state == State.SENDING.value)
    moments = [connection.execute(query).scalar_one() for query in (*attempts, lease)]
    return min((moment for moment in moments if moment), default=None)


def _by_id(delivery_id: int) -> Select[Any]:
    return select(deliveries).where(deliveries.c.id == delivery_id)


def _one(connection: Connection, query: Select[Any]) -> Delivery | None:
    row = connection.execute(query).mappings().one_or_none()
    return next(read_each("deliveries", [row] if row else [], Delivery.from_row), None)


_FENCE = (
    deliveries.c.id == bindparam("_id"),
    deliveries.c.state == bindparam("_state"),
    deliveries.c.claim.is_not_distinct_from(bindparam("_claim")),
)


def _build_fenced_update(*names: str, **values: Any) -> Statement:
    """Return an UPDATE of a claimed row that sets columns to parameters, and others to the given values."""
    changed = update(deliveries).where(*_FENCE).values(_bind_params(*names) | values)
    return Statement(lambda _insert: changed.returning(deliveries.c.id))


_HAND_OVER = _build_fenced_update("handed_at", "subject")
_SETTLE = _build_fenced_update(
    "state",
    "reason",
    "next_attempt_at",
    "remaining",
    "attempts",
    "settled_at",
    claim=None,
    lease_until=None,
    handed_at=None,
)
_ATTEMPT = Statement(
    lambda insert: insert(delivery_attempts), columns=("delivery_id", "at", "outcome", "answer")
)


def _update_fenced(connection: Connection, statement: Statement, delivery: Delivery, **values: Any) -> None:
    """Update a claimed row. Raises LeaseLost if the row is no longer as this claimer knows it."""
    fence_values = {"_id": delivery.id, "_state": delivery.state.value, "_claim": delivery.claim}
    parameters = {f"_{name}_": value for name, value in values.items()}
    if not statement.rows(connection, **fence_values, **parameters):
        raise LeaseLost(_lease_lost_message(delivery))


def _lease_lost_message(delivery: Delivery) -> str:
    return f"delivery {delivery.id} was taken up by another, or settled, in the meantime"


def _write(connection: Connection, delivery: Delivery, **values: Any) -> None:
    is_own_claim = deliveries.c.claim.is_not_distinct_from(delivery.claim)
    fence = (deliveries.c.id == delivery.id, deliveries.c.state == delivery.state.value, is_own_claim)
    if not connection.execute(update(deliveries).where(*fence).values(_plain(values))).rowcount:
        raise LeaseLost(_lease_lost_message(delivery))


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.value if isinstance(value, State) else value for name, value in values.items()}


def _note(connection: Connection, delivery_id: int, at: datetime, outcome: str, answer: str) -> None:
    _ATTEMPT.rows(connection, delivery_id=delivery_id, at=at, outcome=outcome, answer=cut(answer, MAX_WORDS))
