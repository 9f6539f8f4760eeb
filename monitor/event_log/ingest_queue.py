"""The queue of the events that wait to be written, which gives each deployment its turn.

A request waits in a lane of its deployment, so that a deployment's events stay in their order. The writer
takes events of all lanes in turn. So who sends a flood of events makes the events of its own deployment wait,
and hardly those of another one.

`IngestQueue.take` runs in the database's thread, everything else in the event loop's.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from threading import Lock

from monitor.events.event import Event

MAX_WAITING = 200
"""Requests in the queue. Beyond it a sender has to come back (429) if its deployment has its share of them.
Nothing is lost."""


class IngestOutcome(str, Enum):
    """The result of taking in one event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    """The database refused the event's data. The events that arrived with it were written."""


class IngestBusy(Exception):
    """Too much is waiting to be written. The caller should try again later."""


@dataclass(eq=False)
class PendingRequest:
    """The events of one request, which may be written in several transactions."""

    events: Sequence[Event]
    answer: "asyncio.Future[list[IngestOutcome]]"
    outcomes: dict[int, IngestOutcome] = field(default_factory=dict)
    """The outcomes by the place of the event in the request."""
    is_failed: bool = False
    """True if its sender has the error, and sends everything again: what still waits is not written."""


@dataclass(eq=False)
class PendingEvent:
    """An event of a request, and its place in the request."""

    request: PendingRequest
    place: int

    @property
    def event(self) -> Event:
        """The event."""
        return self.request.events[self.place]


_Lane = deque[tuple[PendingRequest, deque[int]]]
"""The requests of one deployment, oldest first, each with the places of those events that wait."""


class IngestQueue:
    """The requests that wait to be written, by their deployments."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        """The lanes that hold events. The lane whose turn is next comes first."""
        self._unanswered: set[PendingRequest] = set()
        self._came = asyncio.Event()
        self._lock = Lock()

    def add(self, events: Sequence[Event]) -> "asyncio.Future[list[IngestOutcome]]":
        """Queue the events and return the future of their outcomes.
        Raises IngestBusy if too much is waiting."""
        request = PendingRequest(events, asyncio.get_running_loop().create_future())
        places: dict[str, deque[int]] = {}
        for place, event in enumerate(events):
            places.setdefault(event.deployment, deque()).append(place)
        if not places:
            request.answer.set_result([])
            return request.answer
        with self._lock:
            self._require_room(places)
            for deployment, its_places in places.items():
                self._lanes.setdefault(deployment, deque()).append((request, its_places))
        self._unanswered.add(request)
        self._came.set()
        return request.answer

    def _require_room(self, deployments: Iterable[str]) -> None:
        """Raise IngestBusy if too much is waiting. A flood of one deployment leaves the others room."""
        if sum(map(len, self._lanes.values())) < MAX_WAITING:
            return
        share = MAX_WAITING // len(self._lanes)
        if any(len(self._lanes.get(deployment, ())) >= share for deployment in deployments):
            raise IngestBusy(f"{MAX_WAITING} requests are waiting to be written")

    async def wait(self) -> None:
        """Wait until the queue holds something."""
        while not self._lanes:
            self._came.clear()
            await self._came.wait()

    def count(self) -> int:
        """Return how many events wait."""
        with self._lock:
            return sum(len(places) for lane in self._lanes.values() for _, places in lane)

    def take(self, most: int) -> list[PendingEvent]:
        """Take the oldest events of each deployment, as many of one as of another."""
        taken: list[PendingEvent] = []
        with self._lock:
            while self._lanes and len(taken) < most:
                share = max(1, (most - len(taken)) // len(self._lanes))
                for deployment in list(islice(self._lanes, most - len(taken))):
                    lane = self._lanes.pop(deployment)
                    _move(lane, taken, share)
                    if lane:
                        self._lanes[deployment] = lane  # behind the others
        return taken

    def settle(self, written: Iterable[tuple[PendingEvent, IngestOutcome]]) -> None:
        """Keep the outcomes of events, and answer the requests all of whose events have one."""
        for pending, outcome in written:
            request = pending.request
            request.outcomes[pending.place] = outcome
            if len(request.outcomes) == len(request.events):
                self._unanswered.discard(request)
                if not request.answer.done():  # the request may be cut off: its events are kept all the same
                    request.answer.set_result(
                        [request.outcomes[place] for place in range(len(request.events))]
                    )

    def fail(self, requests: Collection[PendingRequest], error: Exception) -> None:
        """Give an error to these requests."""
        for request in requests:
            request.is_failed = True
            if not request.answer.done():
                request.answer.set_exception(error)
        self._unanswered.difference_update(requests)

    def fail_all(self, error: Exception) -> None:
        """Fail all requests, including those that the database's thread has taken and may yet write."""
        self.fail(list(self._unanswered), error)


def _move(lane: _Lane, taken: list[PendingEvent], most: int) -> None:
    while lane and most > 0:
        request, places = lane[0]
        if request.is_failed:
            places.clear()
        some = [PendingEvent(request, places.popleft()) for _ in range(min(most, len(places)))]
        taken += some
        most -= len(some)
        if not places:
            lane.popleft()
