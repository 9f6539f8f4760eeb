"""The requests whose events wait to be written.

Odd on purpose: they are gathered in the database's thread once the writer has the log, not before it asks for
it. The longer the log was another's, the more is written under it at once.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum

from monitor.events import Event

MAX_COMMIT = 2_000  # events in one transaction: keeps the writer's turn, and a reader's wait, short
MAX_WAITING = 200  # requests in the queue; beyond it a sender is told to come back (429), nothing is lost


class Outcome(str, Enum):
    """What became of one event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    """The database refused its data; the events that arrived with it were written."""


class IngestBusy(Exception):
    """More is waiting to be written than is sensible: try again later."""


@dataclass(eq=False)
class Arrival:
    events: Sequence[Event]
    outcomes: "asyncio.Future[list[Outcome]]"


class Arrivals:
    """All but `gather` belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._waiting: deque[Arrival] = deque()
        self._unanswered: set[Arrival] = set()
        self._came = asyncio.Event()

    def add(self, events: Sequence[Event]) -> "asyncio.Future[list[Outcome]]":
        """What is answered for these events. Raises IngestBusy where too much is waiting already."""
        if len(self._waiting) >= MAX_WAITING:
            raise IngestBusy(f"{MAX_WAITING} requests are waiting to be written")
        arrival = Arrival(events, asyncio.get_running_loop().create_future())
        self._waiting.append(arrival)
        self._unanswered.add(arrival)
        self._came.set()
        return arrival.outcomes

    async def wait(self) -> None:
        """Until there is something to be written."""
        while not self._waiting:
            self._came.clear()
            await self._came.wait()

    def gather(self) -> list[Arrival]:
        """The oldest of them, as many as fit into a transaction. From any thread."""
        together: list[Arrival] = []
        size = 0
        while self._waiting and size < MAX_COMMIT:
            together.append(self._waiting.popleft())
            size += len(together[-1].events)
        return together

    def answer(self, together: Sequence[Arrival], outcomes: Sequence[Outcome]) -> None:
        """`outcomes`: of each of their events, in order."""
        results = iter(outcomes)
        for arrival in together:
            answer = [next(results) for _ in arrival.events]
            if not arrival.outcomes.done():  # the request may be cut off: its events are kept all the same
                arrival.outcomes.set_result(answer)
        self._unanswered.difference_update(together)

    def fail(self, together: Collection[Arrival], error: Exception) -> None:
        for arrival in together:
            if not arrival.outcomes.done():
                arrival.outcomes.set_exception(error)
        self._unanswered.difference_update(together)

    def fail_all(self, error: Exception) -> None:
        """Also those that the database's thread has gathered, and may yet write."""
        self.fail(list(self._unanswered), error)
