"""The background tasks: their wake signals, their repetition, and their orderly end.

`WakeSignal` counts wakings, so a waiter that was busy during a waking does not sleep through it. Waking is
for latency; every loop polls as well, for correctness.

`end` cancels tasks again until all have ended, because until Python 3.12 asyncio may lose a cancellation.
`first_of` runs works side by side until the first of them ends. `repeat_look` looks again and again, even
after a look that failed.

`FairThreads` lets several users share a few threads, so that nobody's long work keeps the others waiting.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from anyio import CapacityLimiter, WouldBlock, fail_after
from sqlalchemy.exc import DBAPIError

logger = logging.getLogger(__name__)

T = TypeVar("T")


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

    async def wait(self, seen: int, timeout: float) -> bool:  # noqa: ASYNC109 (no scope to cancel)
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


MAX_WAITING = 50  # works of one user that wait for a thread: more than a pool of connections sends at once
WAIT_SECONDS = 10.0  # for a thread: whoever still waits for an answer by then has mostly asked again


class Overloaded(Exception):
    """The work was not begun: `is_too_many` of the same user wait already, or it waited too long."""

    def __init__(self, is_too_many: bool) -> None:
        super().__init__("too many wait already" if is_too_many else "it waited too long")
        self.is_too_many = is_too_many


class FairThreads:
    """Threads of a pool that several users share: `total` of them, and `share` of them for one user.

    Each user's work waits in a queue of its own, and the queues take turns: a free thread goes to whoever
    waited longest among at most `share` works of each user.
    """

    def __init__(self, pool: ThreadPoolExecutor, total: int, share: int) -> None:
        self._pool = pool
        self._all = CapacityLimiter(total)
        self._share = share
        self._limiters: WeakValueDictionary[str, CapacityLimiter] = WeakValueDictionary()

    async def run(
        self,
        whose: str,
        function: Callable[[], T],
        stop: Callable[[], object] | None = None,
        patience: float | None = WAIT_SECONDS,
    ) -> T:
        """Run the function for a user. If the caller is cancelled, `stop` is called in another thread; the
        function keeps its thread until it ends. `patience`: seconds to wait for a thread; None: any time, and
        however many wait. Raises Overloaded."""
        limiters = (self._limiter(whose, self._share), self._all)
        if patience is not None and limiters[0].statistics().tasks_waiting >= MAX_WAITING:
            raise Overloaded(is_too_many=True)
        work = object()
        await _acquire(limiters, work, patience)
        began = self._pool.submit(copy_context().run, function)
        try:
            return await asyncio.wrap_future(began)
        except asyncio.CancelledError:
            if stop is not None and not began.done():
                asyncio.get_running_loop().run_in_executor(None, stop)
            raise
        finally:
            _release_after(began, limiters, work)

    async def run_patiently(
        self, whose: str, function: Callable[[], T], stop: Callable[[], object] | None = None
    ) -> T:
        """Run the function when no other of these is under way for the user, however long that takes: the
        user's share is never all taken by them. For works that are bounded elsewhere."""
        async with self._limiter(f"patiently {whose}", 1):
            return await self.run(whose, function, stop, patience=None)

    @asynccontextmanager
    async def pause(self) -> AsyncIterator[None]:
        """Wait until the works under way have ended; none begins in the block."""
        pauses: list[object] = []
        try:
            while len(pauses) < self._all.total_tokens:
                pause = object()
                await self._all.acquire_on_behalf_of(pause)
                pauses.append(pause)
            yield
        finally:
            for pause in pauses:
                self._all.release_on_behalf_of(pause)

    def _limiter(self, name: str, total: int) -> CapacityLimiter:
        found = self._limiters.get(name)
        if found is None:
            found = self._limiters[name] = CapacityLimiter(total)
        return found


async def _acquire(limiters: Iterable[CapacityLimiter], work: object, patience: float | None) -> None:
    """Raises Overloaded."""
    acquired = []
    try:
        with fail_after(patience):
            for limiter in limiters:
                try:
                    limiter.acquire_on_behalf_of_nowait(work)  # most often: without a turn of the event loop
                except WouldBlock:
                    await limiter.acquire_on_behalf_of(work)
                acquired.append(limiter)
    except BaseException as error:
        _release(acquired, work)
        if isinstance(error, TimeoutError):
            raise Overloaded(is_too_many=False) from None
        raise


def _release_after(began: "Future[Any]", limiters: Iterable[CapacityLimiter], work: object) -> None:
    """Release what the work holds: at once if it has ended, or else when its thread ends it."""
    if began.done():
        _release(limiters, work)
        return
    loop = asyncio.get_running_loop()

    def release(_: object) -> None:
        with suppress(RuntimeError):  # the loop has ended, and all who waited with it
            loop.call_soon_threadsafe(_release, limiters, work)

    began.add_done_callback(release)


def _release(limiters: Iterable[CapacityLimiter], work: object) -> None:
    for limiter in limiters:
        limiter.release_on_behalf_of(work)
