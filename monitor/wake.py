"""One signal that many loops wait on: waking is for latency; every loop polls as well, for correctness."""

import asyncio


class Wake:
    """A counter of wakings. A waiter that was busy while it rose does not sleep through it."""

    def __init__(self) -> None:
        self._count = 0
        self._event = asyncio.Event()

    @property
    def count(self) -> int:
        """Read this before looking for work; hand it to wait() afterwards."""
        return self._count

    def set(self) -> None:
        """Wake everyone who waits. Only from the event loop's own thread."""
        self._count += 1
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, seen: int, timeout: float) -> bool:
        """Return True once the count has risen above `seen`, or False after `timeout` seconds."""
        if self._count != seen:
            return True
        try:
            await asyncio.wait_for(self._event.wait(), timeout)
        except (TimeoutError, asyncio.TimeoutError):  # two classes until Python 3.11
            return False
        return True
