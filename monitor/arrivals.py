"""The requests whose events wait to be written.

Odd on purpose: they are gathered in the database's thread once the writer has the log, not before it asks for
it. The longer the log was another's, the more is written under it at once.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from monitor.events import Event

MAX_COMMIT = 2_000  # events in one transaction: keeps the writer's turn, and a reader's wait, short
MAX_WAITING = 200  # requests in the queue; beyond it a sender is told to come back (429), nothing is lost


class IngestBusy(Exception):
    """More is waiting to be written than is sensible: try again later."""


@dataclass(eq=False)
class Arrival:
    events: Sequence[Event]
    taken: "asyncio.Future[list[bool]]"


class Arrivals:
    """All but `gather` belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._waiting: deque[Arrival] = deque()
        self._unanswered: set[Arrival] = set()
        self._came = asyncio.Event()

    def add(self, events: Sequence[Event]) -> "asyncio.Future[list[bool]]":
        """What is answered for these events. Raises IngestBusy where too much is waiting already."""
        if len(self._waiting) >= MAX_WAITING:
            raise IngestBusy(f"{MAX_WAITING} requests are waiting to be written")
        arrival = Arrival(events, asyncio.get_running_loop().create_future())
        self._waiting.append(arrival)
        self._unanswered.add(arrival)
        self._came.set()
        return arrival.taken

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

    def answer(self, together: Sequence[Arrival], taken: Sequence[bool]) -> None:
        """`taken`: of each of their events, whether it was new."""
        results = iter(taken)
        for arrival in together:
            answer = [next(results) for _ in arrival.events]
            if not arrival.taken.done():  # the request may be cut off: its events are kept all the same
                arrival.taken.set_result(answer)
        self._unanswered.difference_update(together)

    def fail(self, together: Collection[Arrival], error: Exception) -> None:
        for arrival in together:
            if not arrival.taken.done():
                arrival.taken.set_exception(error)
        self._unanswered.difference_update(together)

    def fail_all(self, error: Exception) -> None:
        """Also those that the database's thread has gathered, and may yet write."""
        self.fail(list(self._unanswered), error)
