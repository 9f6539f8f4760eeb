"""The spool under abuse: full disks, foreign owners, deaths and forks at any moment, 100,000 events."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from airflow_windsock.backoff import Backoff
from airflow_windsock.drainer import Drainer
from airflow_windsock.journal import recover
from airflow_windsock.lock import TURN, FileLock
from airflow_windsock.sender import Sender
from airflow_windsock.settings import Settings
from airflow_windsock.spool import Spool
from airflow_windsock.task_sender import TaskSender
from tests.plugin.conftest import wait_until
from tests.plugin.forks import in_child
from tests.plugin.receiver import Receiver

NOBODY = 65534
MANY = 100_000
DEATHS = 60
SEED = 20261122


def event(number: int, padding: int = 0, run: int = 0) -> bytes:
    return json.dumps({"id": f"event:{run}:{number}", "run": run, "pad": "x" * padding}).encode()


def open_spool(settings: Settings) -> Spool:
    return Spool(settings.spool_dir, 200_000, 10**9)


def make(settings: Settings, batch: int = 100) -> Drainer:
    assert settings.endpoint is not None
    spool = open_spool(settings)
    return Drainer(
        spool, Sender(settings, settings.endpoint, spool), Backoff(settings.spool_dir / "backoff"), batch
    )


def task_sender(settings: Settings, spool: Spool) -> TaskSender:
    assert settings.endpoint is not None
    courier = Sender(settings, settings.endpoint, spool)
    return TaskSender(spool, courier, Backoff(settings.spool_dir / "backoff"), 1.0)


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of one mebibyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_refuses_counts_and_recovers(
    small_disk: Path, settings: Settings, receiver: Receiver
) -> None:
    on_disk = Settings(
        deployment="local",
        spool_dir=small_disk / "spool",
        endpoint=settings.endpoint,
        secrets=settings.secrets,
    )
    drainer, spool = make(on_disk), open_spool(on_disk)
    kept, refused = [], 0
    for number in range(200):
        try:
            (drainer._journal.append if number % 2 else spool.add)(event(number, padding=20_000))
            kept.append(f"event:0:{number}")
        except OSError:
            refused += 1
    assert refused > 0
    assert len(kept) > 10
    drainer.wake()
    wait_until(lambda: len(receiver.events) == len(kept))
    wait_until(lambda: spool.names() == [])
    assert sorted(receiver.ids) == sorted(kept)
    spool.add(event(999, padding=20_000))
    drainer.wake()
    wait_until(lambda: "event:0:999" in receiver.events)
    drainer.stop()
    wait_until(lambda: drainer._thread is None)


def test_a_directory_that_is_another_user_s_is_refused_and_said(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    spool = Spool(tmp_path / "spool", 10, 10_000)
    spool.add(event(1))
    tmp_path.chmod(0o755)
    (tmp_path / "spool").chmod(0o755)

    def as_nobody() -> None:
        os.chdir("/")
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        with pytest.raises(PermissionError):
            Spool(tmp_path / "spool", 10, 10_000).add(event(2))

    assert status_of(in_child(as_nobody)) == 0
    assert len(spool.names()) == 1


@pytest.mark.parametrize("within", ["", "tmp", "new", "bad", "journals"])
def test_a_link_in_place_of_a_directory_is_not_followed(tmp_path: Path, within: str) -> None:
    """Whoever makes the spool first must not have our files written, or moved, where a link leads."""
    elsewhere = tmp_path / "dags"
    elsewhere.mkdir()
    (elsewhere / "dag.py").write_text("schedule = None")
    root = tmp_path / "spool"
    if within:
        root.mkdir()
    (root / within).symlink_to(elsewhere)
    spool = Spool(root, 10, 10_000)
    for use in (lambda: spool.add(event(1)), spool.names, spool.recover, lambda: recover(spool)):
        with suppress(OSError):  # refused, or nothing to do
            use()
    assert [path.name for path in elsewhere.iterdir()] == ["dag.py"]
    assert (elsewhere / "dag.py").read_text() == "schedule = None"


@pytest.mark.parametrize("name", ["refused", "drainer.lock", "usage"])
def test_a_link_in_place_of_a_file_is_not_followed(settings: Settings, tmp_path: Path, name: str) -> None:
    target = tmp_path / "dag.py"
    target.write_text("schedule = None")
    spool = open_spool(settings)
    spool.add(event(1))
    (settings.spool_dir / name).unlink(missing_ok=True)
    (settings.spool_dir / name).symlink_to(target)
    spool.refused.add()
    spool.names()
    with suppress(OSError), FileLock(settings.spool_dir / TURN).acquire():
        pass
    assert target.read_text() == "schedule = None"


def test_what_lies_in_another_user_s_spool_is_not_sent(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    root = tmp_path / "spool"
    Spool(root, 10, 10_000).add(event(1))
    for path in (root, *root.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    with pytest.raises(PermissionError):
        Spool(root, 10, 10_000).names()


@pytest.mark.slow
def test_a_hundred_thousand_events_wait_in_order_and_in_little_memory(settings: Settings) -> None:
    spool = open_spool(settings)
    for number in range(MANY):
        spool.add(event(number))

    def in_bounds() -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        oldest = open_spool(settings).names(5_000)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert len(oldest) == 5_000
        assert oldest == sorted(oldest)
        assert grown < 16 * 1024, f"KiB: {grown}"  # the names that it gives are 300 KiB, all would be ten MiB

    assert status_of(in_child(in_bounds)) == 0
    first = [letter.event_id for name in spool.names(100) if (letter := spool.read(name))]
    assert first == [f"event:0:{number}" for number in range(100)]
    usage = (settings.spool_dir / "usage").read_text().split()
    assert int(usage[0]) > 0


@pytest.mark.slow
def test_tasks_killed_between_put_and_send_lose_nothing(settings: Settings, receiver: Receiver) -> None:
    """Each says what it has kept, over a pipe, before it is killed at a random moment."""
    chance = random.Random(SEED)  # noqa: S311 (repeatable, and no secret)
    kept: list[str] = []
    for task in range(DEATHS):
        reader, writer = os.pipe()

        def work(task: int = task, writer: int = writer) -> None:
            spool = open_spool(settings)
            sender = task_sender(settings, spool)
            for number in range(1000):
                name = spool.add(event(number, run=task))
                os.write(writer, f"event:{task}:{number}\n".encode())
                sender.send(str(task), name)

        pid = in_child(work)
        os.close(writer)
        with os.fdopen(reader) as told:
            first = told.readline()
            time.sleep(chance.uniform(0.0, 0.02))  # the moment of the death, not a wait for anything
            os.kill(pid, signal.SIGKILL)
            kept += [line.strip() for line in [first, *told]]
        os.waitpid(pid, 0)
        Backoff(settings.spool_dir / "backoff").record_success()
    assert make(settings).drain_once()
    assert set(kept) <= set(receiver.ids)
    assert len(set(receiver.ids) - set(kept)) <= DEATHS, "put, and killed before it could say so"
    assert list((settings.spool_dir / "bad").iterdir()) == []


def test_a_fork_while_another_thread_puts(settings: Settings) -> None:
    spool = open_spool(settings)
    stopping = threading.Event()
    put: list[int] = []

    def busy() -> None:
        while not stopping.is_set():
            spool.add(event(len(put)))
            put.append(1)

    thread = threading.Thread(target=busy)
    thread.start()
    children = [in_child(partial(spool.add, event(number, run=1))) for number in range(20)]
    assert [status_of(child) for child in children] == [0] * 20
    stopping.set()
    thread.join()
    ids = [letter.event_id for name in spool.names() if (letter := spool.read(name))]
    assert sorted(ids) == sorted(
        [f"event:0:{number}" for number in range(len(put))] + [f"event:1:{number}" for number in range(20)]
    )


@hypothesis_settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(hands=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=5, max_size=60))
def test_events_of_one_run_are_sent_in_the_order_of_their_hooks(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings, hands: list[tuple[int, int]]
) -> None:
    """Each event of a run is kept by another process, one after the other as a baton goes round: two with a
    journal and a thread, and one that ends after each event, as a task's."""
    with Receiver() as receiver:
        assert settings.endpoint is not None
        folder = tmp_path_factory.mktemp("spool")
        endpoint = type(settings.endpoint)(False, "127.0.0.1", receiver.port, "/api/v1/events")
        here = Settings("local", folder, endpoint, (receiver.secret,))
        schedulers = [Process(here) for _ in range(2)]
        try:
            for number, (who, run) in enumerate(hands):
                body = event(number, run=run)
                if who < len(schedulers):
                    schedulers[who].put(body)
                else:
                    assert status_of(in_child(partial(as_task, here, body))) == 0
            wait_until(lambda: len(receiver.events) == len(hands))
        finally:
            for process in schedulers:
                process.end()
        told: dict[int, list[int]] = defaultdict(list)
        for found in receiver.events.values():
            told[found["run"]].append(int(found["id"].rpartition(":")[2]))
        assert all(numbers == sorted(numbers) for numbers in told.values()), told


def as_task(settings: Settings, body: bytes) -> None:
    spool = open_spool(settings)
    task_sender(settings, spool).send("task", spool.add(body))


class Process:
    """A long-lived process that keeps what it is given, and says when it has."""

    def __init__(self, settings: Settings) -> None:
        given, self._give = os.pipe()
        self._done, done = os.pipe()
        self._pid = in_child(lambda: self._live(settings, given, done))
        os.close(given)
        os.close(done)

    def _live(self, settings: Settings, given: int, done: int) -> None:
        os.close(self._give)
        drainer = make(settings)
        while body := os.read(given, 65536):
            drainer.add(body)
            os.write(done, b".")

    def put(self, body: bytes) -> None:
        os.write(self._give, body)
        assert os.read(self._done, 1) == b"."

    def end(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._give)
        os.close(self._done)
