"""The drain of long-lived processes: one at a time, across forks, whatever the monitor does."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from airflow_windsock.backoff import Backoff
from airflow_windsock.drainer import Drainer
from airflow_windsock.sender import Later, Sender
from airflow_windsock.settings import Settings
from airflow_windsock.spool import Spool
from tests.plugin import receiver as scripted
from tests.plugin.conftest import WAIT, wait_until
from tests.plugin.receiver import Receiver, status


@pytest.fixture
def spool(settings: Settings) -> Spool:
    return Spool(settings.spool_dir, 10_000, 100_000_000)


def make(settings: Settings, batch: int = 100) -> Drainer:
    assert settings.endpoint is not None
    spool = Spool(settings.spool_dir, 10_000, 100_000_000)
    backoff = Backoff(settings.spool_dir / "backoff")
    return Drainer(spool, Sender(settings, settings.endpoint, spool), backoff, batch)


@pytest.fixture
def drainer(settings: Settings) -> Iterator[Drainer]:
    drainer = make(settings)
    yield drainer
    drainer.stop()
    wait_until(lambda: not running())


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "windsock-drainer"]


def put(spool: Spool, *numbers: int) -> None:
    for number in numbers:
        spool.add(json.dumps({"id": f"event:{number}"}).encode())


def test_it_starts_with_the_first_event_and_sends_oldest_first(
    drainer: Drainer, spool: Spool, receiver: Receiver
) -> None:
    assert not running()
    put(spool, *range(250))
    drainer.wake()
    wait_until(lambda: len(receiver.events) == 250)
    assert receiver.ids == [f"event:{number}" for number in range(250)]
    assert [len(batch) for batch in receiver.batches] == [100, 100, 50]
    wait_until(lambda: spool.names() == [])


def test_it_finds_what_other_processes_put(drainer: Drainer, spool: Spool, receiver: Receiver) -> None:
    drainer.wake()
    pid = os.fork()
    if pid == 0:
        put(spool, 1)
        os._exit(0)
    os.waitpid(pid, 0)
    wait_until(lambda: receiver.ids == ["event:1"])


def test_many_threads_start_one_thread(drainer: Drainer) -> None:
    waking = [threading.Thread(target=drainer.wake) for _ in range(20)]
    for thread in waking:
        thread.start()
    for thread in waking:
        thread.join()
    assert len(running()) == 1


def test_a_monitor_that_comes_back_gets_everything(
    drainer: Drainer, spool: Spool, receiver: Receiver, settings: Settings
) -> None:
    receiver.script.extend([status(503), scripted.take_and_reset])
    put(spool, *range(3))
    drainer.wake()
    wait_until(lambda: Backoff(settings.spool_dir / "backoff").wait() > 0)
    wait_until(lambda: spool.names() == [])
    assert receiver.ids == ["event:0", "event:1", "event:2"]
    assert Backoff(settings.spool_dir / "backoff").wait() == 0


def test_a_wrong_secret_is_said_loudly_and_once(
    drainer: Drainer, spool: Spool, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.script.extend([status(401)] * 100)
    put(spool, 1)
    with caplog.at_level(logging.ERROR, logger="airflow_windsock"):
        drainer.wake()
        wait_until(lambda: receiver.seen >= 2)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "mend ingest_secret" in caplog.text
    assert spool.names()


def test_a_broken_disk_does_not_end_the_thread(
    drainer: Drainer, spool: Spool, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    put(spool, 1)
    (spool.root / "backoff").mkdir()  # neither to be read as a file nor to be written
    receiver.script.append(status(500))
    drainer.wake()
    wait_until(lambda: "cannot be drained" in caplog.text)
    assert running()


def test_what_can_neither_be_read_nor_moved_holds_up_nothing(
    drainer: Drainer, spool: Spool, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    put(spool, 1)
    blocked = "00000000000000000001-1-0-4.json"
    (spool.root / "new" / blocked).mkdir()
    (spool.root / "bad" / blocked).write_text("in the way")
    drainer.wake()
    wait_until(lambda: receiver.ids == ["event:1"])
    wait_until(lambda: "remove it by hand" in caplog.text)


def test_two_drainers_of_a_host_never_drain_at_once(
    settings: Settings, spool: Spool, receiver: Receiver
) -> None:
    put(spool, *range(10))
    first, second = make(settings), make(settings)
    results: list[bool] = []
    with first._lock.acquire() as mine, second._lock.acquire() as yours:
        assert (mine, yours) == (True, False)
        waiting = threading.Thread(target=lambda: results.append(second.drain_once()))
        waiting.start()
    waiting.join(WAIT)
    assert results == [True]
    assert receiver.seen == 1


def test_many_drainers_lose_nothing_and_send_nothing_twice(
    settings: Settings, spool: Spool, receiver: Receiver
) -> None:
    drainers = [make(settings, batch=7) for _ in range(3)]
    for number in range(200):
        put(spool, number)
        drainers[number % 3].wake()
    wait_until(lambda: spool.names() == [])
    for drainer in drainers:
        drainer.stop()
    wait_until(lambda: not running())
    told = [event["id"] for batch in receiver.batches for event in batch]
    assert sorted(told) == sorted(f"event:{number}" for number in range(200))


def test_a_child_that_was_forked_in_the_middle_of_a_request(
    drainer: Drainer, spool: Spool, receiver: Receiver, settings: Settings
) -> None:
    """The parent's thread holds the lock and waits for an answer; the child has neither, and its death or its
    life changes nothing for the parent."""
    receiver.script.append(scripted.hang)
    put(spool, 1)
    drainer.wake()
    wait_until(lambda: receiver.seen == 1)
    pid = os.fork()
    if pid == 0:
        alone = threading.active_count() == 1
        free = drainer._lock._file is None
        with make(settings)._lock.acquire() as mine:
            os._exit(0 if alone and free and not mine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with make(settings)._lock.acquire() as mine:
        assert not mine, "the parent still has its lock"
    receiver.released.set()
    wait_until(lambda: spool.names() == [])


def test_a_child_starts_a_thread_of_its_own(drainer: Drainer, spool: Spool, receiver: Receiver) -> None:
    drainer.wake()
    pid = os.fork()
    if pid == 0:
        put(spool, 7)
        drainer.wake()
        names = [thread.name for thread in threading.enumerate()]
        os._exit(0 if "windsock-drainer" in names else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    wait_until(lambda: "event:7" in receiver.events)


def test_the_death_of_a_drainer_frees_the_lock(settings: Settings, spool: Spool) -> None:
    put(spool, 1)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        with make(settings)._lock.acquire():
            os.write(writer, b".")
            threading.Event().wait()
    assert os.read(reader, 1) == b"."
    with make(settings)._lock.acquire() as mine:
        assert not mine
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    with make(settings)._lock.acquire() as mine:
        assert mine
    os.close(reader)
    os.close(writer)


def test_drain_once_says_why_not(settings: Settings, spool: Spool, receiver: Receiver) -> None:
    assert make(settings).drain_once(), "nothing was ever put"
    put(spool, 1)
    receiver.script.append(status(500))
    with pytest.raises(Later, match="500"):
        make(settings).drain_once()
    assert settings.endpoint is not None
    away = replace(settings, endpoint=replace(settings.endpoint, port=1))
    with pytest.raises(Later, match="refused"):
        make(away).drain_once()
