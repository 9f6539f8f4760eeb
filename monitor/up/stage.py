"""What starting and playing work with: made once for each `windsock up`."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

import httpx

from monitor.errors import AirflowUnreachable
from monitor.up.airflow_client import AirflowClient
from monitor.up.processes import Processes
from monitor.up.screen import Screen
from monitor.up.setup import Setup

T = TypeVar("T")
POLL_SECONDS = 0.8  # a look at the runs costs the api-server some 60 ms of a core that the tasks need too


@dataclass(frozen=True)
class Stage:
    """The processes, the ways to talk to them, and the moment by which all must be through."""

    setup: Setup
    processes: Processes
    screen: Screen
    airflow: AirflowClient
    monitor: httpx.AsyncClient
    deadline: float
    """On the monotonic clock."""

    async def in_time(self, work: Awaitable[T]) -> T:
        """Do it before the deadline. Raises asyncio.TimeoutError."""
        return await asyncio.wait_for(work, max(0, self.deadline - monotonic()))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again, a server that is not ready too: another process knows, and it cannot wake us."""
    while True:
        with contextlib.suppress(AirflowUnreachable):
            if await condition():
                return
        await asyncio.sleep(POLL_SECONDS)
