"""The processes of `windsock up`, the wrapper around each component, and their ports.

`Processes` starts the components, and ends everything that it has started when `windsock up` ends.

`hold` reserves a port on the loopback address until the port's server listens. On Linux, a socket that is
bound and does not listen keeps other programs from getting the port by chance. A server that sets
SO_REUSEADDR, as uvicorn and aiosmtpd do, can still bind the port. On other systems the port can only be
chosen, not held.

`main` is the wrapper, which runs as `python -m monitor.cli.up.processes SECONDS COMMAND…`. The wrapper treats
one component and everything that the component starts as one unit, and ends with the command. The wrapper
ends the command at SIGTERM, and when its own standard input closes. The closed input shows that `windsock up`
is gone, SIGKILL included.

Nothing that the command has started outlives the wrapper on Linux. Orphans of any depth and session become
children of the wrapper (PR_SET_CHILD_SUBREAPER). On other systems, processes that have left their parent
escape.
"""

import asyncio
import contextlib
import ctypes
import errno
import os
import select
import signal
import socket
import subprocess
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from monitor.errors import WindsockError


class CannotStart(WindsockError):
    """Something on this machine is not as it must be; the message holds the remedy."""


class PartDied(WindsockError):
    """One of the processes ended by itself; the message holds its status and the end of its log."""


class NotAllHappened(WindsockError):
    """The deadline came, or a run failed, before everything was through."""


LOOPBACK = "127.0.0.1"
PORTS = range(65536)
NEIGHBORS = 20  # ports above a taken one that are tried: people find what is next to the usual one
CAN_HOLD = sys.platform == "linux"


@dataclass
class Port:
    """A port that is ours. `instead_of`: the one that was asked for, if that was taken."""

    number: int
    instead_of: int | None = None
    _holder: socket.socket | None = field(default=None, repr=False)

    def release(self) -> None:
        """Let go: its server listens, or never will."""
        if self._holder:
            self._holder.close()
            self._holder = None


def hold(port: int) -> Port:
    """`port`, or one next to it if that is taken (0: any free one).

    Raises CannotStart if it is no port, or this user may not open it.
    """
    if port not in PORTS:
        raise CannotStart(f"port {port} is none: choose one from 1024 to {PORTS[-1]}, or 0 for any")
    try:
        return _hold(port, None)
    except OSError as error:
        if error.errno == errno.EACCES:
            raise CannotStart(
                f"port {port} is reserved for the system's administrator. Choose one from 1024 up"
            ) from None
        if error.errno != errno.EADDRINUSE:
            raise CannotStart(f"port {port} on {LOOPBACK} cannot be opened: {error.strerror}") from None
    for near in range(port + 1, min(port + NEIGHBORS, PORTS[-1]) + 1):
        with contextlib.suppress(OSError):
            return _hold(near, port)
    return _hold(0, port)


def _hold(number: int, instead_of: int | None) -> Port:
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if number:  # else connections of our last run that linger (TIME_WAIT) would count as taken
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((LOOPBACK, number))
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what lets the server bind it too
    except OSError:
        holder.close()
        raise
    port = Port(holder.getsockname()[1], instead_of, holder)
    if not CAN_HOLD:
        port.release()
    return port


PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
PR_SET_CHILD_SUBREAPER = 36
ON_LINUX = sys.platform == "linux"
POLL_SECONDS = 0.1  # while stopping only: grandchildren end without a signal to us
KILL_SECONDS = 5.0  # a killed process is gone at once, unless the kernel holds it in a disk's queue
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def adopt_orphans() -> None:
    """Make this process the parent of all orphans below it."""
    if ON_LINUX:
        _prctl(PR_SET_CHILD_SUBREAPER, 1)


def descendants() -> list[psutil.Process]:
    """Everything alive below this process."""
    alive = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process)
        except psutil.NoSuchProcess:
            continue
    return alive


def kill_descendants() -> bool:
    """SIGKILL until nothing is left below; what forks meanwhile is found in the next round."""
    deadline = time.monotonic() + KILL_SECONDS
    while alive := descendants():
        if time.monotonic() > deadline:
            return False
        for process in alive:
            _signal(process, signal.SIGKILL)
        time.sleep(POLL_SECONDS / 10)
    return True


def main() -> int:
    """The command's exit status, 128 + the signal's number if a signal ended it."""
    grace, command = float(sys.argv[1]), sys.argv[2:]
    adopt_orphans()
    wake = _wake_on_signals()
    try:
        main_pid = _start(command)
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201 (into its log)
        return 127
    status = _wait(main_pid, wake)
    deadline = time.monotonic() + grace
    while status is None and time.monotonic() < deadline:
        status = _reap().get(main_pid)
        time.sleep(0 if status is not None else POLL_SECONDS)
    _end_the_rest(deadline)
    return 128 + signal.SIGKILL if status is None else status


def _start(command: list[str]) -> int:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_end_with_parent,  # noqa: PLW1509 (this process has one thread)
    )
    process.returncode = 0  # waited for by `_reap`, not by the module
    return process.pid


def _end_with_parent() -> None:
    signal.set_wakeup_fd(-1)
    if ON_LINUX:  # where this process is killed before it can end the command
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait(main_pid: int, wake: int) -> int | None:
    """Until the command has ended (its status), or has been told to end (None)."""
    while True:
        readable, _, _ = select.select([sys.stdin, wake], [], [])
        signals = os.read(wake, 4096) if wake in readable else b""
        status = _reap().get(main_pid)
        if status is not None:
            return status
        if sys.stdin in readable or any(number in signals for number in STOP_SIGNALS):
            os.kill(main_pid, signal.SIGTERM)  # it is not reaped yet, so the id is still its own
            return None


def _end_the_rest(deadline: float) -> None:
    for process in descendants():
        _signal(process, signal.SIGTERM)
    while descendants() and time.monotonic() < deadline:
        _reap()
        time.sleep(POLL_SECONDS)
    kill_descendants()
    _reap()


def _reap() -> dict[int, int]:
    """The exit statuses of the children that have ended since, orphans that became ours among them."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if not pid:
            return ended
        code = os.waitstatus_to_exitcode(status)
        ended[pid] = 128 - code if code < 0 else code


def _wake_on_signals() -> int:
    """A file descriptor that becomes readable, with the signals' numbers, when one arrives."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (*STOP_SIGNALS, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return reader


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


GRACE_SECONDS = 5.0  # Airflow's components end within 3 s when idle; a task that runs longer is cut off
WRAPPER_SECONDS = GRACE_SECONDS + KILL_SECONDS + 2
MEASURE_SECONDS = 3.0  # reading some twenty processes takes some 20 ms
TAIL_LINES = 15
TAIL_BYTES = 64 * 1024
MEBIBYTE = 1024**2


@dataclass
class ComponentProcess:
    """One component: its wrapper's process, and where it logs."""

    name: str
    process: Process
    log: Path


class Processes:
    """Ends everything that it started when its `async with` ends, however that comes."""

    def __init__(self, logs: Path, held_open: Sequence[int] = ()) -> None:
        """`held_open`: file descriptors that are to stay open until the last component has ended."""
        self._logs = logs
        self._held_open = held_open
        self._parts: list[ComponentProcess] = []
        self._watches: list[asyncio.Task[None]] = []
        self._died: asyncio.Queue[PartDied] = asyncio.Queue()
        self.peak = 0.0
        """The most megabytes that all of it has taken so far."""
        adopt_orphans()

    async def _begin(
        self, name: str, command: Sequence[str | Path], env: Mapping[str, str], grace: float
    ) -> ComponentProcess:
        """Start a process; its output goes to `<name>.log`, that of its last start to `<name>.log.1`."""
        log = self._logs / f"{name}.log"
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        wrapper = [sys.executable, "-I", "-m", "monitor.cli.up.processes", str(grace)]
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *wrapper,
                *command,
                stdin=PIPE,
                stdout=output,
                stderr=output,
                env=dict(env),
                pass_fds=self._held_open,
                start_new_session=True,  # Ctrl-C goes to the terminal's group: to us, not to them
            )
        part = ComponentProcess(name, process, log)
        self._parts.append(part)
        return part

    async def start(
        self, name: str, command: Sequence[str | Path], env: Mapping[str, str], grace: float = GRACE_SECONDS
    ) -> ComponentProcess:
        """Start a component that is to run on, and that gets `grace` seconds to end when told to."""
        part = await self._begin(name, command, env, grace)
        self._watches.append(asyncio.create_task(self._report_end(part)))
        return part

    async def run(self, name: str, command: Sequence[str | Path], env: Mapping[str, str]) -> None:
        """Run a command to its end. Raises PartDied if it fails."""
        part = await self._begin(name, command, env, GRACE_SECONDS)
        if status := await part.process.wait():
            raise PartDied(_obituary(part, status))

    async def watch(self) -> None:
        """Raises PartDied as soon as a component that was started has ended."""
        raise await self._died.get()

    async def _report_end(self, part: ComponentProcess) -> None:
        self._died.put_nowait(PartDied(_obituary(part, await part.process.wait())))

    async def measure(self) -> None:
        """Keep `peak`; never ends."""
        while True:
            self.peak = max(self.peak, await asyncio.to_thread(memory))
            await asyncio.sleep(MEASURE_SECONDS)

    async def stop(self) -> None:
        """End them all, the last started first, and what they left; bounded by about 30 s in all."""
        for watch in self._watches:
            watch.cancel()
        running = [part.process for part in reversed(self._parts) if part.process.returncode is None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        if running:
            await asyncio.wait(
                [asyncio.ensure_future(process.wait()) for process in running], timeout=WRAPPER_SECONDS
            )
        if not await asyncio.to_thread(kill_descendants):
            raise PartDied(f"these would not end: {', '.join(str(left.pid) for left in descendants())}")

    def kill(self) -> None:
        """End them all now."""
        kill_descendants()


def memory() -> float:
    """Megabytes (2**20) that this process and all below it take; shared pages are split evenly."""
    return sum(map(_memory, [psutil.Process(), *descendants()])) / MEBIBYTE


def _memory(process: psutil.Process) -> int:
    try:
        full = process.memory_full_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
    return int(getattr(full, "pss", full.uss))


def _obituary(part: ComponentProcess, status: int) -> str:
    number = -status if status < 0 else status - 128  # of the wrapper itself, or as the wrapper tells it
    how = f"was ended by {signal.Signals(number).name}" if number > 0 else f"ended with status {status}"
    return f"{part.name} {how}. The end of {part.log}:\n{tail(part.log)}"


def tail(log: Path) -> str:
    """The last lines of a log."""
    with contextlib.suppress(FileNotFoundError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-TAIL_LINES:])
    return "  (nothing)"


if __name__ == "__main__":
    sys.exit(main())
