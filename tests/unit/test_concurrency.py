"""Tasks end although a cancellation was lost, and users share threads."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from anyio import fail_after
from sqlalchemy.exc import OperationalError

from monitor.concurrency import (
    LONGEST_WAIT,
    MAX_WAITING,
    FairThreads,
    Overloaded,
    WakeSignal,
    end,
    repeat_look,
)
from tests.wait import DEADLINE, PAUSE


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


class Held:
    """Works of threads that wait until they are told to go on."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.gate = threading.Event()

    def work(self, name: str) -> Callable[[], str]:
        def hold() -> str:
            self.begun.append(name)
            self.gate.wait(DEADLINE)
            return name

        return hold

    async def wait_for(self, *names: str) -> None:
        with fail_after(DEADLINE):
            while sorted(self.begun) != sorted(names):  # noqa: ASYNC110 (threads set it)
                await asyncio.sleep(PAUSE)


async def share(story: Callable[[FairThreads, Held], Coroutine[Any, Any, None]]) -> None:
    """Three threads, of which one user gets two."""
    held = Held()
    with ThreadPoolExecutor(3) as pool:
        try:
            await story(FairThreads(pool, 3, 2), held)
        finally:
            held.gate.set()


def test_one_user_leaves_a_thread_for_others() -> None:
    async def story(threads: FairThreads, held: Held) -> None:
        many = [asyncio.ensure_future(threads.run("a", held.work(f"a{number}"))) for number in range(4)]
        await held.wait_for("a0", "a1")
        assert await threads.run("b", lambda: "b") == "b"
        assert held.begun == ["a0", "a1"]
        held.gate.set()
        assert await asyncio.gather(*many) == ["a0", "a1", "a2", "a3"]

    asyncio.run(share(story))


def test_users_take_turns() -> None:
    """A newcomer waits for the works under way, and not for the queues of those who came before."""

    async def story(threads: FairThreads, held: Held) -> None:
        many = [
            asyncio.ensure_future(threads.run(user, held.work(f"{user}{number}")))
            for user in "ab"
            for number in range(6)
        ]
        await held.wait_for("a0", "a1", "b0")
        last = asyncio.ensure_future(threads.run("c", held.work("c")))
        await asyncio.sleep(PAUSE)
        held.gate.set()
        await asyncio.gather(*many, last)
        assert held.begun.index("c") < 6

    asyncio.run(share(story))


def test_so_many_wait_and_the_next_is_refused() -> None:
    async def story(threads: FairThreads, held: Held) -> None:
        many = [asyncio.ensure_future(threads.run("a", held.work("a"))) for _ in range(2 + MAX_WAITING)]
        await held.wait_for("a", "a")
        with pytest.raises(Overloaded) as refused:
            await threads.run("a", held.work("too many"))
        assert refused.value.is_too_many
        held.gate.set()
        await asyncio.gather(*many)
        assert await threads.run("a", lambda: "again") == "again"

    asyncio.run(share(story))


def test_who_waits_too_long_gives_up() -> None:
    async def story(threads: FairThreads, held: Held) -> None:
        many = [asyncio.ensure_future(threads.run("a", held.work("a"))) for _ in range(2)]
        await held.wait_for("a", "a")
        with pytest.raises(Overloaded) as refused:
            await threads.run("a", held.work("late"), patience=0.01)
        assert not refused.value.is_too_many
        held.gate.set()
        await asyncio.gather(*many)
        assert held.begun == ["a", "a"]

    asyncio.run(share(story))


def test_a_cancelled_caller_gives_its_place_back() -> None:
    """One that waits, at once. One whose work is under way, when that has ended: it is told to stop."""
    stopped = threading.Event()

    async def story(threads: FairThreads, held: Held) -> None:
        def stop() -> None:
            stopped.set()
            held.gate.set()

        many = [asyncio.ensure_future(threads.run("a", held.work("a"), stop)) for _ in range(2 + MAX_WAITING)]
        await held.wait_for("a", "a")
        await end(many[2:])
        assert not stopped.is_set()
        await end(many[:2])
        assert await threads.run("a", lambda: "next") == "next"
        assert stopped.is_set()
        assert held.begun == ["a", "a"]

    asyncio.run(share(story))


def test_patient_works_leave_their_user_a_thread_and_wait_for_any_time() -> None:
    async def story(threads: FairThreads, held: Held) -> None:
        many = [
            asyncio.ensure_future(threads.run_patiently("a", held.work("a"))) for _ in range(2 * MAX_WAITING)
        ]
        await held.wait_for("a")
        assert await threads.run("a", lambda: "page") == "page"
        held.gate.set()
        assert await asyncio.gather(*many) == ["a"] * 2 * MAX_WAITING

    asyncio.run(share(story))
