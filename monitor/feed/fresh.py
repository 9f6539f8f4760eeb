"""What this process has committed a moment ago: the feed takes it as it is, and saves a read of the log.

It is taken only where it follows what the feed has, without a gap, and where nobody else asked the feed to
look: whatever another process writes takes a place in the log, and is read from there.
"""

import time
from collections.abc import Sequence

from monitor import event_log
from monitor.event_log import Cursor, Line
from monitor.events import Event
from monitor.wake import Wake

MOST = 1_000  # events kept until the feed comes for them; beyond that it reads the log, page by page

Logged = tuple[int, Event]


class Fresh:
    """Only for the event loop's own thread."""

    def __init__(self, wake: Wake) -> None:
        self._wake = wake
        self._waiting: list[tuple[Cursor, Sequence[Logged]]] = []
        self._size = 0
        self.since = 0.0
        """By time.monotonic(), since when the first of what waits has been waiting."""
        self._handed = 0
        """Wakings that tell of nothing but what was handed over."""
        self._others = 0
        """The other wakings, when the log was last read."""

    def put(self, after: Cursor, logged: Sequence[Logged]) -> None:
        """Hand over what was committed behind a place in the log, and wake the feed."""
        if logged and self._size + len(logged) <= MOST:
            if not self._waiting:
                self.since = time.monotonic()
            self._waiting.append((after, logged))
            self._size += len(logged)
            self._handed += 1
        self._wake.set()

    def clear(self) -> None:
        """Forget what waits: nobody wants it."""
        self._waiting, self._size = [], 0

    def take(self, end: Cursor) -> list[Line] | None:
        """What follows `end`; None: the log has to be read, from now on."""
        waiting = self._waiting
        self.clear()
        others = self._wake.count - self._handed
        if others != self._others:
            self._others = others
            return None
        lines: list[Line] = []
        for after, logged in waiting:
            if after.epoch == end.epoch and logged[-1][0] <= end.seq:
                continue  # the log was read since
            if after != end:
                return None
            lines += [event_log.line_of(seq, event) for seq, event in logged]
            end = Cursor(end.epoch, logged[-1][0])
        return lines or None
