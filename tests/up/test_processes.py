"""Nothing that was started is left, however it ends. Real processes; actor.py says how they behave."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import psutil
import pytest

from monitor.cli.up.processes import CannotStart, Processes
from tests.monitor_process import PYTHONPATH
from tests.wait import DEADLINE, until

SUPERVISE = Path(__file__).with_name("supervise.py")
SHORT = 0.3  # seconds of grace for those that do not listen
LONG = 600.0  # seconds: longer than any test waits
HOW_MANY = {"sleep": 1, "deaf": 1, "listen": 1, "family": 3, "crash": 1, "segfault": 0}

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts supervise.py with the given actors, and waits until they are all there."""
    started = []

    def run(*behaviours: str, grace: float = SHORT) -> "subprocess.Popen[bytes]":
        with (tmp_path / f"said by {'-'.join(behaviours)}").open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, SUPERVISE, tmp_path, str(grace), *behaviours],
                env={"PATH": os.environ["PATH"], "PYTHONPATH": PYTHONPATH},
                stdin=subprocess.DEVNULL,
                stdout=said,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait(DEADLINE)
    for pid in _of(tmp_path):
        os.kill(pid, signal.SIGKILL)


def _end_of(process: "subprocess.Popen[bytes]") -> str:
    """Wait for it; what it said."""
    process.wait(DEADLINE)
    _, _, home, _, *behaviours = map(str, cast("list[object]", process.args))
    return Path(home, f"said by {'-'.join(behaviours)}").read_text()


def _pids(home: Path, behaviour: str) -> list[int]:
    folder = home / "pids" / behaviour
    return [int(file.name) for file in folder.iterdir() if file.name.isdigit()] if folder.exists() else []


def _wait_for(home: Path, *behaviours: str) -> list[int]:
    """The ids of all that the actors are, once all are there."""
    for behaviour in behaviours:
        until(lambda b=behaviour: len(_pids(home, b)) == HOW_MANY[b], f"the processes of {behaviour}")  # type: ignore[misc]
    return [pid for behaviour in behaviours for pid in _pids(home, behaviour)]


def _alive(pids: Sequence[int]) -> list[int]:
    """Those that run. (One that has ended may wait a moment for init to take note.)"""
    return [pid for pid in pids if psutil.pid_exists(pid) and _status(pid) != psutil.STATUS_ZOMBIE]


def _status(pid: int) -> str:
    try:
        return str(psutil.Process(pid).status())
    except psutil.NoSuchProcess:
        return str(psutil.STATUS_ZOMBIE)


def _of(home: Path) -> list[int]:
    """Every process on this machine whose command names the home, wrappers too."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        alive = process.info["status"] != psutil.STATUS_ZOMBIE
        if alive and any(str(home) in word for word in process.info["cmdline"] or []):
            found.append(process.pid)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    supervisor = start("sleep", "deaf", "listen", "family")
    pids = _wait_for(tmp_path, "sleep", "deaf", "listen", "family")
    port = int((tmp_path / "pids" / "listen" / "port").read_text())
    supervisor.send_signal(number)
    supervisor.wait(DEADLINE)
    assert supervisor.returncode == 128 + number
    assert not _alive(pids)
    assert not _of(tmp_path)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_killed_supervisor_takes_everything_along(start: Start, tmp_path: Path) -> None:
    supervisor = start("sleep", "deaf", "family")
    pids = _wait_for(tmp_path, "sleep", "deaf", "family")
    supervisor.kill()
    supervisor.wait(DEADLINE)
    until(lambda: not _of(tmp_path), "the end of every process")
    assert not _alive(pids)


def test_a_killed_component_ends_everything(start: Start, tmp_path: Path) -> None:
    supervisor = start("family", "sleep")
    pids = _wait_for(tmp_path, "family", "sleep")
    component = next(
        process
        for process in psutil.Process(supervisor.pid).children(recursive=True)
        if process.cmdline()[1:3] == [str(SUPERVISE.with_name("actor.py")), "family"]
    )
    component.kill()
    said = _end_of(supervisor)
    assert supervisor.returncode == 1
    assert "family was ended by SIGKILL" in said
    assert not _alive(pids)
    assert not _of(tmp_path)


def test_a_guard_outlives_the_killed_work_and_ends_the_rest(start: Start, tmp_path: Path) -> None:
    supervisor = start("sleep", "deaf", "family")
    pids = _wait_for(tmp_path, "sleep", "deaf", "family")
    (work,) = psutil.Process(supervisor.pid).children()
    work.kill()
    supervisor.wait(DEADLINE)
    assert supervisor.returncode == 128 + signal.SIGKILL
    assert not _alive(pids)
    assert not _of(tmp_path)


def test_a_crash_ends_everything_and_is_told(start: Start, tmp_path: Path) -> None:
    supervisor = start("sleep", "deaf", "crash")
    said = _end_of(supervisor)
    assert supervisor.returncode == 1
    assert "crash ended with status 3" in said
    assert "the last words" in said
    assert not _of(tmp_path)


def test_death_by_a_signal_is_told(start: Start, tmp_path: Path) -> None:
    supervisor = start("segfault")
    said = _end_of(supervisor)
    assert "segfault was ended by SIGSEGV" in said
    assert "about to fall" in said
    assert not _of(tmp_path)


def test_a_second_signal_waits_for_nobody(start: Start, tmp_path: Path) -> None:
    supervisor = start("deaf", "sleep", grace=LONG)
    _wait_for(tmp_path, "deaf", "sleep")
    quiet = _pids(tmp_path, "sleep")
    supervisor.send_signal(signal.SIGINT)
    until(lambda: not _alive(quiet), "the end of the one that listens")
    supervisor.send_signal(signal.SIGINT)
    supervisor.wait(DEADLINE)
    assert supervisor.returncode == 128 + signal.SIGINT
    assert not _of(tmp_path)


def test_a_command_that_is_none_is_told(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    with pytest.raises(CannotStart, match=f"cannot start {nothing}: No such file or directory"):
        asyncio.run(Processes(tmp_path).start("nothing", [nothing], {}))


def test_a_home_is_used_by_one(start: Start, tmp_path: Path) -> None:
    first = start("sleep")
    _wait_for(tmp_path, "sleep")
    second = start("listen")
    said = _end_of(second)
    assert second.returncode == 1
    assert f"already running in {tmp_path} (process {first.pid})" in said
    assert not _pids(tmp_path, "listen")


def test_a_home_is_free_when_the_last_process_has_ended(start: Start, tmp_path: Path) -> None:
    first = start("deaf", grace=1)
    _wait_for(tmp_path, "deaf")
    first.kill()
    first.wait(DEADLINE)
    start("sleep")
    deaf = _pids(tmp_path, "deaf")
    _wait_for(tmp_path, "sleep")
    assert not _alive(deaf)
