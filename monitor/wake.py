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
        # Not asyncio.wait_for: until Python 3.12 it loses a cancellation that comes together with the waking,
        # and the loop that was told to end would go on for ever.
        waking = asyncio.ensure_future(self._event.wait())
        try:
            woken, _ = await asyncio.wait({waking}, timeout=timeout)
        finally:
            waking.cancel()
        return bool(woken)
