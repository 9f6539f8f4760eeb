"""A delivery that could not be made, or waits for the next day, is an event like any other: rules may tell it
by another way. Of a delivery that itself tells of such an event nothing is said, or there would be no end to
it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from monitor.errors import EventError
from monitor.events import Event
from monitor.events.troubles import delivery_trouble
from monitor.events.watched import Told
from monitor.outbox import Delivery, Outcome, State

OF_A_DELIVERY = "delivery:"
"""How the ids of these events begin (monitor/events/troubles.py)."""
TOLD_OF = (State.DEAD, State.PARKED)
MAX_WAITING = 1_000  # of them: the ledger has every one all the same
AGAIN_SECONDS = 5.0  # ingest may be busy

Take = Callable[[Sequence[Event]], Awaitable[Any]]
"""Ingest's door."""

logger = logging.getLogger(__name__)


class News:
    """`run()` hands to ingest what was put, until cancelled."""

    def __init__(self, take: Take | None) -> None:
        self._take = take
        self._queue: asyncio.Queue[Event] = asyncio.Queue(MAX_WAITING)

    def put(self, delivery: Delivery, outcome: Outcome, now: datetime) -> None:
        if self._take is None or outcome.state not in TOLD_OF or delivery.event_id.startswith(OF_A_DELIVERY):
            return
        try:
            self._queue.put_nowait(_event(delivery, outcome, now))
        except asyncio.QueueFull:
            logger.warning("delivery %d: no event is made of it, too many wait", delivery.id)
        except EventError:
            logger.exception("delivery %d: no event can be made of it", delivery.id)

    async def run(self) -> None:
        while True:
            await self.hand(await self._queue.get())

    async def flush(self) -> None:
        """Hand over what waits now."""
        while not self._queue.empty():
            await self.hand(self._queue.get_nowait())

    async def hand(self, event: Event) -> None:
        while self._take is not None:
            try:
                await self._take([event])
                return
            except Exception:
                # The ledger has it; the event is told once the database, or ingest, has room again.
                logger.exception("the event %s could not be logged", event.id)
                await asyncio.sleep(AGAIN_SECONDS)


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
