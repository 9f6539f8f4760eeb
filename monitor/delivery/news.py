"""A delivery that could not be made, or waits for the next day, is an event like any other: rules may tell it
by another way. Of a delivery that itself tells of such an event nothing is said, or there would be no end to
it.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection

from monitor.delivery.budget import ToDigest
from monitor.errors import EventError
from monitor.events import Event
from monitor.events.troubles import delivery_trouble
from monitor.events.watched import Told
from monitor.outbox import Delivery, Outcome, State

OF_A_DELIVERY = "delivery:"
"""How the ids of these events begin (monitor/events/troubles.py)."""
TOLD_OF = (State.DEAD, State.PARKED)

Committed = Callable[[], None]
"""To be called once the transaction is committed: who reads the log is woken."""
Log = Callable[[Connection, Sequence[Event]], Committed]
"""Ingest's door, for those who have a transaction of their own."""

logger = logging.getLogger(__name__)


class News:
    """Tells of deliveries in the transaction that settles them: neither is there without the other."""

    def __init__(self, log: Log | None) -> None:
        self._log = log

    def write(
        self, connection: Connection, delivery: Delivery, outcome: Outcome | ToDigest, now: datetime
    ) -> Committed:
        """Before the delivery is settled: the log's lock comes before that of any row, as in ingest."""
        event = self._told(delivery, outcome, now)
        return self._log(connection, [event]) if self._log and event else _nothing

    def _told(self, delivery: Delivery, outcome: Outcome | ToDigest, now: datetime) -> Event | None:
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


def _event(delivery: Delivery, outcome: Outcome, now: datetime) -> Event:
    about = {
        "delivery_id": delivery.id,
        "dag_id": delivery.dag_id,
        "run_id": delivery.run_id,
        "channel": delivery.channel.value,
        "rule": delivery.rule,
        "reason": outcome.reason,
    }
    attempts = delivery.attempts + (outcome.answer is not None)
    told = Told(delivery.deployment, now, None)
    return delivery_trouble(told, outcome.state.value, about, attempts, delivery.created_at)
