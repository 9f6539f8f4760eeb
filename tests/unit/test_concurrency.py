"""Tasks end although a cancellation was lost."""

import asyncio

import pytest

from monitor.concurrency import WakeSignal, end
from tests.wait import DEADLINE


def test_a_task_that_lost_its_cancellation_is_cancelled_again() -> None:
    async def deaf(times: int) -> None:
        for _ in range(times):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue
        await asyncio.Event().wait()

    async def all_of_it() -> list[bool]:
        tasks = [asyncio.ensure_future(deaf(times)) for times in (0, 1, 3)]
        await asyncio.sleep(0)  # so that they wait
        await asyncio.wait_for(end(tasks, again=0.01), DEADLINE)
        return [task.cancelled() for task in tasks]

    assert asyncio.run(all_of_it()) == [True, True, True]


def test_none_is_no_work() -> None:
    asyncio.run(end([]))


def test_a_wait_that_is_cancelled_as_it_is_woken_ends() -> None:
    async def at_once() -> None:
        wake = WakeSignal()
        waiting = asyncio.ensure_future(wake.wait(wake.count, DEADLINE))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # its inner task waits too
        wake.set()
        await asyncio.sleep(0)  # the event has been seen, the waiter has not gone on
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(at_once())


def test_they_are_told_in_order() -> None:
    told: list[int] = []

    async def one(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append(number)

    async def all_of_it() -> None:
        tasks = [asyncio.ensure_future(one(number)) for number in range(50)]
        await asyncio.sleep(0)  # so that they wait
        await end(reversed(tasks))

    asyncio.run(all_of_it())
    assert told == list(reversed(range(50)))
