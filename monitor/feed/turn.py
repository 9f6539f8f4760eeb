"""Work that others wait for, in turns: ingest and pages share the thread with the feed."""

import asyncio
import time
from collections.abc import Callable

TURN_SECONDS = 0.005  # of work before others have a turn: nobody notices a wait of that length


class Turn:
    """Counts time, not readers: what one reader's filter costs depends on the filter."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._began = now()

    async def end_if_long(self) -> None:
        """Let others have their turn, where this one has lasted long enough."""
        if self._now() - self._began >= TURN_SECONDS:
            await asyncio.sleep(0)
            self._began = self._now()
