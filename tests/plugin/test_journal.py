"""The journal of a long-lived process: from the hook to the monitor, whatever dies on the way."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_windsock.backoff import Backoff
from airflow_windsock.drainer import Drainer
from airflow_windsock.journal import FOLDER, HEAD, SHRINK_ABOVE, Journal, recover
from airflow_windsock.listener import Listener
from airflow_windsock.sender import Sender
from airflow_windsock.settings import Settings
from airflow_windsock.spool import Full, Spool
from tests.plugin.conftest import WAIT, wait_until
from tests.plugin.forks import in_child
from tests.plugin.receiver import Receiver, status

PLUGINS = Path(__file__).parents[2] / "plugins"


def event(number: int, padding: int = 0) -> bytes:
    return json.dumps({"id": f"event:{number}", "pad": "x" * padding}).encode()


def named(*numbers: int) -> list[str]:
    return [f"event:{number}" for number in numbers]


@pytest.fixture
def spool(settings: Settings) -> Spool:
    return open_spool(settings)


def open_spool(settings: Settings) -> Spool:
    return Spool(settings.spool_dir, 10_000, 100_000_000)


@pytest.fixture
def journal(spool: Spool) -> Iterator[Journal]:
    journal = Journal(spool)
    yield journal
    journal.forget()


def make(settings: Settings) -> Drainer:
    assert settings.endpoint is not None
    spool = open_spool(settings)
    return Drainer(spool, Sender(settings, settings.endpoint, spool), Backoff(settings.spool_dir / "backoff"))


def waiting(spool: Spool) -> list[str]:
    return [letter.event_id for name in spool.names() if (letter := spool.read(name))]


def told(receiver: Receiver) -> list[str]:
    """Each time that an event was sent."""
    return [event["id"] for batch in receiver.batches for event in batch]


def journals(spool: Spool) -> list[Path]:
    return list((spool.root / FOLDER).iterdir())


@contextmanager
def writer(action: Callable[[], object]) -> Iterator[int]:
    """A process that has done it, lives on, and is killed at the end of the block."""
    reader, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os.write(done, b".")
            signal.pause()
        finally:
            os._exit(1)
    os.close(done)
    try:
        assert os.read(reader, 1) == b".", "the writer failed"
        yield pid
    finally:
        os.close(reader)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def dead_writer(action: Callable[[], object]) -> None:
    with writer(action):
        pass


def succeeded(*pids: int) -> bool:
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * len(pids)


def append(spool: Spool, *numbers: int) -> Journal:
    journal = Journal(spool)
    for number in numbers:
        journal.append(event(number))
    return journal


def test_from_the_hook_to_the_monitor(settings: Settings, spool: Spool, receiver: Receiver) -> None:
    listener = Listener(settings)
    listener.on_starting(component=object())
    for number in range(50):
        run = SimpleNamespace(dag_id="etl", run_id=str(number), start_date=datetime.now(timezone.utc))
        listener.on_dag_run_running(dag_run=run, msg="")
        listener.on_dag_run_success(dag_run=run, msg="")
    wait_until(lambda: len(receiver.events) == 100)
    subjects = [(found["subject"], found["data"]["state"]) for found in receiver.events.values()]
    assert subjects == [(f"etl/{number}", state) for number in range(50) for state in ("running", "success")]
    assert len(told(receiver)) == 100
    assert listener._drainer is not None
    listener._drainer.stop()
    wait_until(lambda: journals(spool) == [])
    assert spool.names() == []


def test_a_hook_leaves_its_event_in_one_line(journal: Journal, spool: Spool) -> None:
    journal.append(event(1))
    (path,) = journals(spool)
    head, line = path.read_bytes().splitlines()
    assert int(head) == HEAD
    moment, body = line.split(b" ", 1)
    assert abs(int(moment) - time.time_ns()) < WAIT * 10**9
    assert body == event(1)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    journal.hand_over()
    assert int(path.read_bytes()[:HEAD]) == path.stat().st_size
    assert spool.names()[0].startswith(moment.decode())


def test_a_killed_writer_s_events_are_delivered_once_and_in_order(
    settings: Settings, spool: Spool, receiver: Receiver
) -> None:
    def work() -> None:
        append(spool, 1, 2).hand_over()
        append(spool, 3, 4, 5)

    drainer = make(settings)
    with writer(work):
        assert drainer.drain_once()
        assert told(receiver) == named(1, 2), "its writer lives"
    assert drainer.drain_once()
    assert told(receiver) == named(1, 2, 3, 4, 5)
    assert journals(spool) == []


def test_a_death_between_put_and_note_is_told_twice_and_loses_nothing(
    settings: Settings, spool: Spool, receiver: Receiver
) -> None:
    dead_writer(lambda: append(spool, 1, 2, 3).hand_over())
    (path,) = journals(spool)
    with path.open("r+b") as file:
        file.write(b"%020d" % HEAD)
    assert make(settings).drain_once()
    assert sorted(told(receiver)) == named(1, 1, 2, 2, 3, 3)
    assert receiver.ids == named(1, 2, 3)


def test_a_drain_finds_the_journal_of_a_dead_process_by_itself(
    settings: Settings, spool: Spool, receiver: Receiver
) -> None:
    dead_writer(lambda: append(spool, 1))
    drainer = make(settings)
    drainer.wake()
    wait_until(lambda: receiver.ids == named(1))
    drainer.stop()


def test_parent_and_child_each_have_a_journal(settings: Settings, spool: Spool, receiver: Receiver) -> None:
    """Forked while the parent's thread waits for an answer, and lines wait for the thread."""
    receiver.script.append(lambda handler, batch: (receiver.released.wait(), status(503)(handler, batch))[1])
    drainer = make(settings)
    drainer.add(event(1))
    wait_until(lambda: receiver.seen == 1)
    drainer.add(event(2))

    def child() -> None:
        recover(spool)
        assert waiting(spool) == named(1), "the parent's journal is its own"
        drainer.add(event(3))

    assert succeeded(in_child(child))
    drainer.add(event(4))
    receiver.released.set()
    wait_until(lambda: Backoff(settings.spool_dir / "backoff").failing())
    drainer.stop()
    wait_until(lambda: len(journals(spool)) == 1)
    assert make(settings).drain_once()
    assert told(receiver) == named(1, 1, 2, 3, 4), "1 was answered with 503 the first time"


def test_a_child_that_outlives_its_parent_does_not_hold_its_journal(settings: Settings, spool: Spool) -> None:
    """As LocalExecutor's workers may outlive a killed scheduler."""
    reader, alive = os.pipe()

    def scheduler() -> None:
        drainer = make(settings)
        drainer._journal.append(event(1))
        if os.fork() == 0:
            os.write(alive, str(os.getpid()).encode())
            signal.pause()
        drainer._journal.append(event(2))

    dead_writer(scheduler)
    child = int(os.read(reader, 20))
    try:
        recover(spool)
    finally:
        os.kill(child, signal.SIGKILL)
    assert waiting(spool) == named(1, 2)
    os.close(reader)
    os.close(alive)


def test_a_fork_while_another_thread_appends(settings: Settings, spool: Spool) -> None:
    drainer = make(settings)
    stopping = threading.Event()

    def busy() -> None:
        number = 0
        while not stopping.wait(0.0005):
            drainer._journal.append(event(number := number + 1))

    thread = threading.Thread(target=busy)
    thread.start()
    children = [in_child(partial(drainer._journal.append, event(-number))) for number in range(1, 11)]
    assert succeeded(*children)
    stopping.set()
    thread.join()
    drainer._journal.hand_over()
    recover(spool)
    ids = waiting(spool)
    assert len(ids) == len(set(ids))
    assert set(named(*range(-10, 0))) < set(ids)
    assert list((spool.root / "bad").iterdir()) == []
    drainer._journal.forget()


def test_two_recoverers_at_once(spool: Spool) -> None:
    for start in range(0, 300, 100):
        dead_writer(partial(append, spool, *range(start, start + 100)))
    assert succeeded(*(in_child(lambda: recover(spool)) for _ in range(4)))
    recover(spool)
    assert waiting(spool) == named(*range(300))
    assert journals(spool) == []


def test_a_torn_last_line_is_set_aside_and_the_others_are_sent(spool: Spool) -> None:
    dead_writer(lambda: append(spool, 1, 2, 3))
    (path,) = journals(spool)
    os.truncate(path, path.stat().st_size - 5)
    recover(spool)
    assert waiting(spool) == named(1, 2)
    assert len([bad for bad in (spool.root / "bad").iterdir() if bad.suffix == ".reason"]) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 50,
        b"no head\n",
        b"9" * 20 + b"\n",
        b"\n\n\n",
        b"%020d\n" % HEAD + b"12 {}\n",
        b"x" * 3_000_000,
    ],
)
def test_what_is_no_journal_holds_up_nothing(spool: Spool, content: bytes) -> None:
    dead_writer(lambda: append(spool, 1))
    (spool.root / FOLDER / "0-1-aa.journal").write_bytes(content)
    recover(spool)
    assert waiting(spool) == named(1)
    assert journals(spool) == []


def test_what_cannot_be_opened_holds_up_nothing_and_is_said(spool: Spool) -> None:
    dead_writer(lambda: append(spool, 1))
    (spool.root / FOLDER / "0").mkdir()
    (spool.root / FOLDER / "1").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic"):
        recover(spool)
    assert waiting(spool) == named(1)


def test_a_disk_that_is_full_half_way_through_a_line(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    def work() -> None:
        journal = append(spool, 1)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
        with pytest.raises(OSError, match="the journal took"):
            journal.append(event(2, padding=1000))
        journal.append(event(3))
        for _ in range(2):
            with pytest.raises(OSError, match=r"took|large"):
                journal.append(event(4, padding=1000))
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        journal.append(event(5, padding=1000))

    dead_writer(work)
    assert int(spool.refused) == 3
    recover(spool)
    assert waiting(spool) == named(1, 3, 5)
    assert list((spool.root / "bad").iterdir()) == []


def test_a_spool_that_takes_nothing_leaves_the_lines_in_the_journal(journal: Journal, spool: Spool) -> None:
    for number in range(3):
        journal.append(event(number))
    (spool.root / "new").rename(spool.root / "gone")
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            journal.hand_over()
    (spool.root / "gone").rename(spool.root / "new")
    journal.append(event(3))
    journal.hand_over()
    assert waiting(spool) == named(0, 1, 2, 3)


def test_a_full_disk_does_not_stop_the_sending(
    settings: Settings, spool: Spool, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    spool.add(event(1))
    drainer = make(settings)
    drainer._journal.append(event(2))
    (spool.root / "tmp").rename(spool.root / "gone")
    drainer.wake()
    wait_until(lambda: receiver.ids == named(1))
    assert "events stay in the journals" in caplog.text
    (spool.root / "gone").rename(spool.root / "tmp")
    wait_until(lambda: receiver.ids == named(1, 2))
    drainer.stop()


def test_where_there_can_be_no_journal_each_event_has_a_file(
    journal: Journal, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    spool.root.mkdir()
    (spool.root / FOLDER).write_text("in the way")
    with caplog.at_level(logging.WARNING, logger="airflow_windsock"):
        for number in range(3):
            journal.append(event(number))
    assert waiting(spool) == named(0, 1, 2)
    assert len(caplog.records) == 1
    assert list((spool.root / "tmp").iterdir()) == []


def test_order_outlives_a_clock_that_is_set_back(settings: Settings) -> None:
    times = iter(range(2_000, 1_000, -100))
    spool = Spool(settings.spool_dir, 10_000, 1_000_000, clock=lambda: next(times))
    journal = append(spool, 0, 1, 2)
    journal.hand_over()
    spool.add(event(3))
    journal.append(event(4))
    journal.hand_over()
    assert waiting(spool) == named(0, 1, 2, 3, 4)
    journal.forget()


def test_what_waits_in_the_journal_counts(settings: Settings) -> None:
    spool = Spool(settings.spool_dir, 3, 1_000)
    journal = append(spool, 0, 1, 2)
    with pytest.raises(Full):
        journal.append(event(3))
    journal.hand_over()
    assert len(spool.names()) == 3
    with pytest.raises(Full):
        journal.append(event(3))
    assert int(spool.refused) == 2
    for name in spool.names():
        spool.remove(name)
    assert spool.names() == []
    with pytest.raises(Full):
        journal.append(event(4, padding=1_000))
    journal.append(event(4))
    journal.forget()


def test_moving_on_is_never_refused(settings: Settings) -> None:
    spool = Spool(settings.spool_dir, 3, 1_000)
    journal = append(spool, 0, 1, 2)
    for number in range(3, 6):
        Spool(settings.spool_dir, 6, 1_000).add(event(number))
    journal.hand_over()
    assert waiting(spool) == named(*range(6))
    journal.forget()


def test_it_does_not_grow(journal: Journal, spool: Spool) -> None:
    journal.append(event(1))
    (path,) = journals(spool)
    for _ in range(2):
        journal.hand_over()
    assert path.stat().st_size == HEAD, "idle"
    for number in range(2, 8):
        journal.append(event(number, padding=SHRINK_ABOVE // 5))
    journal.hand_over()
    assert path.stat().st_size == HEAD, "busy, and large"
    journal.append(event(8))
    journal.hand_over()
    assert waiting(spool) == named(*range(1, 9))


def test_many_threads_append_while_one_hands_over(journal: Journal, spool: Spool) -> None:
    def many(start: int) -> None:
        for number in range(start, start + 100):
            journal.append(event(number))

    threads = [threading.Thread(target=many, args=(start,)) for start in range(0, 400, 100)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        journal.hand_over()
    journal.hand_over()
    ids = waiting(spool)
    assert sorted(ids) == sorted(named(*range(400)))
    for start in range(0, 400, 100):
        own = [found for found in ids if start <= int(found.split(":")[1]) < start + 100]
        assert own == named(*range(start, start + 100))


def test_a_process_that_ends_leaves_no_journal(settings: Settings, spool: Spool, receiver: Receiver) -> None:
    """Without Airflow (-S), so that nothing but the plugin ends there."""
    code = f"""
from pathlib import Path
from airflow_windsock.backoff import Backoff
from airflow_windsock.sender import Sender
from airflow_windsock.drainer import Drainer
from airflow_windsock.settings import Endpoint, Settings
from airflow_windsock.spool import Spool
root = Path({str(settings.spool_dir)!r})
endpoint = Endpoint(False, "127.0.0.1", {receiver.port}, "/api/v1/events")
spool = Spool(root, 1000, 10**6)
settings = Settings("local", root, endpoint, ({receiver.secret!r},))
drainer = Drainer(spool, Sender(settings, endpoint, spool), Backoff(root / "backoff"))
for number in range(20):
    drainer.add(b'{{"id": "event:%d"}}' % number)
"""
    environment = {"PYTHONPATH": str(PLUGINS), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env=environment, capture_output=True, text=True, timeout=WAIT
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert make(settings).drain_once()
    assert receiver.ids == named(*range(20))
    assert journals(spool) == []
