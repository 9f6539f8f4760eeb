"""The end of tasks: a cancellation may be lost, so it is said again."""

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_SECONDS = 10.0  # twice what any task takes to tidy up (a mail under way, a turn given back)


async def end(tasks: Iterable["asyncio.Task[Any]"], again: float = AGAIN_SECONDS) -> None:
    """Cancel tasks, and return when all have ended, however they did.

    Once is not always enough: until Python 3.12 `asyncio.wait_for` loses a cancellation that comes together
    with its result, and what is awaited in libraries may too. A task that has lost it would never end.
    """
    every = list(tasks)
    left = set(every)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again)
    await asyncio.gather(*every, return_exceptions=True)
