"""The background tasks: their wake signals, their repetition, and their orderly end.

`WakeSignal` counts wakings, so a waiter that was busy during a waking does not sleep through it. Waking is
for latency. Every loop polls as well, for correctness.

`end` cancels tasks again until all have ended, because until Python 3.12 asyncio may lose a cancellation.
`first_of` runs works in parallel until the first of them ends. `repeat_look` looks again and again, even
after a look that failed.

`FairLimiter` lets several users share a few turns, and `FairThreads` a few threads, so that no user's
long work keeps the others waiting."""

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
        """The number of wakings.
        Callers read it before they look for work, and hand it to wait() afterwards."""
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
        # and the cancelled loop would go on for ever.
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
    """Run the works in parallel until one ends, then end the others.
    Raises the error of the work that ended.

    This is not gather, because gather hands a cancellation on, and a work that is tidying up would be
    canceled once more."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(tasks)
    for task in done:
        task.result()


LONGEST_WAIT = 120.0  # seconds between looks that fail by a defect: each writes a traceback to the log

OnDefect = Callable[[Exception], object]
"""A function that is called with each error that is a defect of the monitor. An unavailable database is no
defect."""


async def repeat_look(
    look: Callable[[], Awaitable[None]], seconds: float, failure: str, on_defect: OnDefect
) -> None:
    """Look every so many seconds until canceled.
    `failure` is the log's text about a failed look.

    After a defect the wait doubles until a look succeeds."""
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
WAIT_SECONDS = 10.0  # for a thread: a client that still waits by then has mostly asked again


class Overloaded(Exception):
    """The work was not begun: `is_too_many` of the same user wait already, or it waited too long."""

    def __init__(self, is_too_many: bool) -> None:
        super().__init__("too many wait already" if is_too_many else "it waited too long")
        self.is_too_many = is_too_many


class FairLimiter:
    """The turns that several users share: `total` at once, and `share` of them for one user.

    Each user's work waits in a queue of its own, and the queues take turns. A free turn goes to the work
    that waited longest among at most `share` works of each user."""

    def __init__(self, total: int, share: int) -> None:
        self._all = CapacityLimiter(total)
        self._share = share
        self._limiters: WeakValueDictionary[str, CapacityLimiter] = WeakValueDictionary()

    async def acquire(self, whose: str, patience: float | None = WAIT_SECONDS) -> "Turn":
        """Wait for a turn of a user, which the caller releases.
        Raises Overloaded.

        `patience` is the seconds to wait, or None for any time, however many wait."""
        limiters = (self._limiter(whose, self._share), self._all)
        if patience is not None and limiters[0].statistics().tasks_waiting >= MAX_WAITING:
            raise Overloaded(is_too_many=True)
        turn = Turn(limiters)
        await _acquire(limiters, turn, patience)
        return turn

    @asynccontextmanager
    async def turn(self, whose: str, patience: float | None = WAIT_SECONDS) -> AsyncIterator[None]:
        """Have a turn of a user in the block. Raises Overloaded."""
        acquired = await self.acquire(whose, patience)
        try:
            yield
        finally:
            acquired.release()

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[None]:
        """Wait until no other block of this name is under way."""
        async with self._limiter(name, 1):
            yield

    @asynccontextmanager
    async def pause(self) -> AsyncIterator[None]:
        """Wait until the turns under way have ended. No turn begins in the block."""
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


class Turn:
    """The turn of a FairLimiter that a piece of work has."""

    def __init__(self, limiters: Iterable[CapacityLimiter]) -> None:
        self._limiters = limiters

    def release(self) -> None:
        """Let the next work begin. Call it only from the event loop's own thread."""
        _release(self._limiters, self)

    def release_after(self, work: "Future[Any]") -> None:
        """Release the turn at once if the work has ended, or else when its thread ends it."""
        if work.done():
            self.release()
            return
        loop = asyncio.get_running_loop()

        def release(_: object) -> None:
            with suppress(RuntimeError):  # the loop has ended, and all who waited with it
                loop.call_soon_threadsafe(self.release)

        work.add_done_callback(release)


class FairThreads:
    """The threads of a pool that several users share, as turns of a FairLimiter."""

    def __init__(self, pool: ThreadPoolExecutor, total: int, share: int) -> None:
        self._pool = pool
        self._limiter = FairLimiter(total, share)

    async def run(
        self,
        whose: str,
        function: Callable[[], T],
        stop: Callable[[], object] | None = None,
        patience: float | None = WAIT_SECONDS,
    ) -> T:
        """Run the function for a user.
        Raises Overloaded.

        If the caller is cancelled, `stop` is called in another thread, and the function keeps its thread
        until it ends. `patience` is the seconds to wait for a thread, or None for any time, however many
        wait."""
        turn = await self._limiter.acquire(whose, patience)
        began = self._pool.submit(copy_context().run, function)
        try:
            return await asyncio.wrap_future(began)
        except asyncio.CancelledError:
            if stop is not None and not began.done():
                asyncio.get_running_loop().run_in_executor(None, stop)
            raise
        finally:
            turn.release_after(began)

    async def run_patiently(
        self, whose: str, function: Callable[[], T], stop: Callable[[], object] | None = None
    ) -> T:
        """Run the function once the user has no other such work under way.
        So these works never take all of the user's share. They have to be bounded elsewhere."""
        async with self._limiter.alone(f"patiently {whose}"):
            return await self.run(whose, function, stop, patience=None)

    @asynccontextmanager
    async def pause(self) -> AsyncIterator[None]:
        """Wait until the works under way have ended. No work begins in the block."""
        async with self._limiter.pause():
            yield


async def _acquire(limiters: Iterable[CapacityLimiter], work: object, patience: float | None) -> None:
    """Take a token of each limiter for the work. Raises Overloaded."""
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


def _release(limiters: Iterable[CapacityLimiter], work: object) -> None:
    for limiter in limiters:
        limiter.release_on_behalf_of(work)
