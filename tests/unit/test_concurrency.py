"""Tasks end although a cancellation was lost."""

import asyncio
import logging

import pytest
from sqlalchemy.exc import OperationalError

from monitor.concurrency import LONGEST_WAIT, WakeSignal, end, repeat_look
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


def test_a_look_that_fails_is_repeated_whatever_the_error(caplog: pytest.LogCaptureFixture) -> None:
    defects: list[Exception] = []
    looks = 0

    async def all_of_it() -> None:
        done = asyncio.Event()

        async def look() -> None:
            nonlocal looks
            looks += 1
            if looks == 1:
                raise OperationalError("SELECT", {}, Exception("the database is gone"))
            if looks < 4:
                raise KeyError("a defect")
            done.set()

        looking = asyncio.ensure_future(repeat_look(look, 0, "nothing is looked at", defects.append))
        await asyncio.wait_for(done.wait(), DEADLINE)
        await end([looking])

    with caplog.at_level(logging.ERROR, "monitor.concurrency"):
        asyncio.run(all_of_it())
    assert [type(error) for error in defects] == [KeyError, KeyError]
    assert [record.getMessage() for record in caplog.records] == [
        "nothing is looked at; trying again in 0 s"
    ] * 3
    assert all(record.exc_info for record in caplog.records)


def test_the_wait_after_defects_doubles_to_a_bound_and_ends_with_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A defect that stays is no reason to fill the log, nor to wait for long once it is over."""
    failing = [True, True, True, False, True]

    async def all_of_it() -> None:
        loop, ahead, looks = asyncio.get_running_loop(), 0.0, 0
        real = loop.time
        loop.time = lambda: real() + ahead  # type: ignore[method-assign]

        async def look() -> None:
            nonlocal looks
            looks += 1
            if failing[looks - 1]:
                raise ValueError("a defect")

        looking = asyncio.ensure_future(repeat_look(look, 30, "it is not done", lambda _: None))
        while looks < len(failing):
            await asyncio.sleep(0)
            ahead += 30
        await asyncio.sleep(0)
        await end([looking])

    asyncio.run(all_of_it())
    told = [record.getMessage().rpartition(" in ")[2] for record in caplog.records]
    assert told == ["60 s", f"{LONGEST_WAIT:.0f} s", f"{LONGEST_WAIT:.0f} s", "60 s"]
