"""How tasks end: all of them, in order, and even if a cancellation is lost."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any

AGAIN_SECONDS = 10.0  # twice what any task takes to tidy up (a mail under way, a turn given back)


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
