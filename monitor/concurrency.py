"""The background tasks: their wake signals, their repetition, and their orderly end.

`WakeSignal` counts wakings, so a waiter that was busy during a waking does not sleep through it. Waking is
for latency; every loop polls as well, for correctness.

`end` cancels tasks again until all have ended, because until Python 3.12 asyncio may lose a cancellation.
`first_of` runs works side by side until the first of them ends. `repeat_look` looks again and again, even
after a look that failed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from sqlalchemy.exc import DBAPIError

logger = logging.getLogger(__name__)


class WakeSignal:
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


AGAIN_SECONDS = 10.0  # twice what any task takes to tidy up (a mail under way, a lock given back)


async def end(tasks: Iterable["asyncio.Task[Any]"], again: float = AGAIN_SECONDS) -> None:
    """Cancel tasks in this order, and return when all have ended, however they did.

    Once is not always enough: until Python 3.12 `asyncio.wait_for` loses a cancellation that comes together
    with its result, and what is awaited in libraries may too. A task that has lost it would never end.
    """
    every = list(tasks)
    left = every
    while left:
        for task in left:
            task.cancel()
        _, deaf = await asyncio.wait(left, timeout=again)
        left = [task for task in left if task in deaf]
    await asyncio.gather(*every, return_exceptions=True)


async def first_of(*works: Awaitable[Any]) -> None:
    """Do them side by side until one ends, then end the others; its error is raised.

    Not gather: that hands a cancellation on, and whoever is tidying up would be cancelled once more.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(tasks)
    for task in done:
        task.result()


LONGEST_WAIT = 120.0  # seconds between looks that fail by a defect: each writes a traceback to the log

OnDefect = Callable[[Exception], object]
"""Is told of each error that is a mistake in the monitor; a database that is away is none."""


async def repeat_look(
    look: Callable[[], Awaitable[None]], seconds: float, failure: str, on_defect: OnDefect
) -> None:
    """Look every so many seconds until cancelled. `failure` says in the log what a failed look has not done.

    After a defect the wait doubles until a look succeeds.
    """
    wait = seconds
    while True:
        await asyncio.sleep(wait)
        try:
            await look()
        except DBAPIError:
            wait = seconds
            logger.exception("%s; trying again in %.0f s", failure, wait)
        except Exception as error:
            on_defect(error)
            wait = max(seconds, min(2 * wait, LONGEST_WAIT))
            logger.exception("%s; trying again in %.0f s", failure, wait)
        else:
            wait = seconds
