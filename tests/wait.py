"""Wait for a condition, with a deadline: never sleep for luck."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE = 20.0  # seconds; far more than a healthy machine needs
PAUSE = 0.02  # seconds between two looks


def until(condition: Callable[[], T], what: str, deadline: float = DEADLINE, pause: float = PAUSE) -> T:
    """Return the condition's first true value. Raises AssertionError after `deadline` seconds. `pause` in
    seconds: longer where a look takes what it waits for from its work."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline} s for {what}; last seen: {value!r}")
        time.sleep(pause)


def settled(amiss: Callable[[], list[str]], deadline: float = DEADLINE) -> None:
    """Wait until nothing is amiss. Raises AssertionError that says what still is after `deadline` seconds."""
    end = time.monotonic() + deadline
    while (left := amiss()) and time.monotonic() < end:
        time.sleep(1)  # each look is a comparison of its own
    assert not left, "\n".join(left)


async def longest_turn(work: Awaitable[object]) -> float:
    """Do it on this event loop; return the longest time in which nobody else had a turn, as a share of all.

    It is the processor's time: what else the machine does counts for nothing.
    """
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, before = max(longest, now - before), now

    began = time.thread_time()
    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    await work
    await asyncio.sleep(0)  # the last time is looked at too
    watching.cancel()
    return longest / (time.thread_time() - began)
