"""The processes of `windsock up`, their common end, and their ports.

`guard` runs the work in a child process, so that two processes know of everything that was started. If one of
them is killed, SIGKILL included, the other one ends the rest. On Linux both adopt the orphans below them
(PR_SET_CHILD_SUBREAPER), of any depth and session. On other systems, processes that have left their parent
escape.

`Processes` starts the components, and ends everything that it has started when `windsock up` ends.

`hold` reserves a port on the loopback address until the port's server listens. On Linux, a socket that is
bound and does not listen keeps other programs from getting the port by chance. A server that sets
SO_REUSEADDR, as uvicorn and aiosmtpd do, can still bind the port. On other systems the port can only be
chosen, not held.
"""

import asyncio
import contextlib
import ctypes
import errno
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from monitor.errors import WindsockError


class CannotStart(WindsockError):
    """The machine does not allow the start. The message holds the remedy."""


class PartDied(WindsockError):
    """A component ended by itself. The message holds its status and the end of its log."""


class NotAllHappened(WindsockError):
    """The deadline came, or a run failed, before everything was through."""


class Interrupted(Exception):
    """A signal asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


LOOPBACK = "127.0.0.1"
PORTS = range(65536)
NEIGHBORS = 20  # ports above a taken one that are tried: people find what is next to the usual one
ON_LINUX = sys.platform == "linux"


@dataclass
class Port:
    """A port that is ours. `instead_of` is the one that was asked for, if that was taken."""

    number: int
    instead_of: int | None
    holder: socket.socket | None

    def release(self) -> None:
        """Let go, because the port's server listens or never will."""
        if self.holder:
            self.holder.close()


def hold(port: int) -> Port:
    """Hold `port`, or one next to it if that is taken (0: any free one).

    Raises CannotStart if it is no port, or if this user may not open it.
    """
    if port not in PORTS:
        raise CannotStart(f"port {port} is none: choose one from 1024 to {PORTS[-1]}, or 0 for any")
    for near in (port, *range(port + 1, min(port + NEIGHBORS, PORTS[-1]) + 1), 0):
        try:
            return _hold(near, None if near == port else port)
        except OSError as error:
            if near == port and error.errno == errno.EACCES:
                remedy = "is reserved for the system's administrator. Choose one from 1024 up"
                raise CannotStart(f"port {port} {remedy}") from None
            if near == port and error.errno != errno.EADDRINUSE:
                raise CannotStart(f"port {port} on {LOOPBACK} cannot be opened: {error.strerror}") from None
    raise CannotStart(f"no port on {LOOPBACK} is free")


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
    if not ON_LINUX:
        port.release()
    return port


PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
KILL_SECONDS = 5.0  # a killed process is gone at once, unless the kernel holds it in a disk's queue
SIGNALLED = 128  # the signal's number is added to it in an exit status, as shells do


def guard(work: Callable[[int], int]) -> int:
    """Run the work in a child process, and end what the child leaves. Return its exit status in both.

    The work is given a file descriptor that becomes readable when this process has ended. The child has a
    session of its own, so that Ctrl-C reaches it once, from this process.
    """
    adopt_orphans()
    reader, writer = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if not child:
        os.close(writer)
        os.setsid()
        adopt_orphans()
        return work(reader)
    for number in STOP_SIGNALS:
        signal.signal(number, lambda number, _frame: _forward(child, number))
    _, status = os.waitpid(child, 0)
    kill_descendants()
    code = os.waitstatus_to_exitcode(status)
    return SIGNALLED - code if code < 0 else code


def _forward(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)


def adopt_orphans() -> None:
    """Make this process the parent of all orphans below it."""
    if ON_LINUX and ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def on_signals(guarded_by: int) -> "asyncio.Future[None]":
    """Return a future that raises Interrupted at the first signal, and when the guard has ended.
    The second signal kills all."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def on_signal(number: int) -> None:
        if future.done():
            kill_descendants()
        else:
            future.set_exception(Interrupted(number))

    def on_guard_ended() -> None:
        loop.remove_reader(guarded_by)
        on_signal(signal.SIGTERM)

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    loop.add_reader(guarded_by, on_guard_ended)
    return future


def descendants() -> list[psutil.Process]:
    """Return everything alive below this process."""
    alive = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process)
    return alive


def kill_descendants() -> bool:
    """Send SIGKILL until no process is left below.
    A process that forks meanwhile is found in the next round."""
    deadline = time.monotonic() + KILL_SECONDS
    while alive := descendants():
        if time.monotonic() > deadline:
            return False
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(POLL_SECONDS)
    return True


GRACE_SECONDS = 5.0  # Airflow's components end within 3 s when idle. A task that runs longer is cut off
POLL_SECONDS = 0.05  # while stopping only: grandchildren end without a signal to us
MEASURE_SECONDS = 3.0  # reading some twenty processes takes some 20 ms
TAIL_LINES = 15
TAIL_BYTES = 64 * 1024
MEBIBYTE = 1024**2


@dataclass
class ComponentProcess:
    """A component with its process, its log, and the time that it may take to end."""

    name: str
    process: Process
    log: Path
    grace: float

    def obituary(self) -> str:
        """Return how the process ended, with the last lines of its log."""
        status = self.process.returncode or 0
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"{self.name} {how}. The end of {self.log}:\n{tail(self.log)}"

    async def stop(self) -> None:
        """Ask it to end, and kill it when its grace is over."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), self.grace)
            except asyncio.TimeoutError:
                self.process.kill()


class Processes:
    """The components that were started, each in a session of its own and with a log."""

    def __init__(self, logs: Path, held_open: Sequence[int] = ()) -> None:
        """Keep the file descriptors of `held_open` open until the last component has ended."""
        self._logs = logs
        self._held_open = held_open
        self._parts: list[ComponentProcess] = []
        self._watches: list[asyncio.Task[None]] = []
        self._died: asyncio.Queue[PartDied] = asyncio.Queue()
        self.peak = 0.0
        """The most megabytes that all of it has taken so far."""

    async def _begin(
        self, name: str, command: Sequence[str | Path], env: Mapping[str, str], grace: float
    ) -> ComponentProcess:
        """Start a process.
        Its output goes to `<name>.log`, and the output of its last start to `<name>.log.1`."""
        log = self._logs / f"{name}.log"
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        try:
            with log.open("wb") as output:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=dict(env),
                    pass_fds=self._held_open,
                    start_new_session=True,
                )
        except OSError as error:
            raise CannotStart(f"cannot start {command[0]}: {error.strerror}") from None
        part = ComponentProcess(name, process, log, grace)
        self._parts.append(part)
        return part

    async def start(
        self, name: str, command: Sequence[str | Path], env: Mapping[str, str], grace: float = GRACE_SECONDS
    ) -> None:
        """Start a component that is to run on, and that gets `grace` seconds to end after a stop signal."""
        part = await self._begin(name, command, env, grace)
        self._watches.append(asyncio.create_task(self._report_end(part)))

    async def run(self, name: str, command: Sequence[str | Path], env: Mapping[str, str]) -> None:
        """Run a command to its end. Raises PartDied if it fails."""
        part = await self._begin(name, command, env, GRACE_SECONDS)
        if await part.process.wait():
            raise PartDied(part.obituary())

    async def watch(self) -> None:
        """Raise PartDied as soon as a started component has ended."""
        raise await self._died.get()

    async def _report_end(self, part: ComponentProcess) -> None:
        await part.process.wait()
        self._died.put_nowait(PartDied(part.obituary()))

    async def measure(self) -> None:
        """Keep `peak`, for ever."""
        while True:
            self.peak = max(self.peak, await asyncio.to_thread(memory))
            await asyncio.sleep(MEASURE_SECONDS)

    async def stop(self) -> None:
        """End the components, and then what they left. Bounded by about 15 s in all."""
        for watch in self._watches:
            watch.cancel()
        running = [part for part in reversed(self._parts) if part.process.returncode is None]
        deadline = time.monotonic() + max((part.grace for part in running), default=0.0)
        await asyncio.gather(*(part.stop() for part in running))
        if not await asyncio.to_thread(_end_descendants, deadline):
            raise PartDied(f"these would not end: {', '.join(str(left.pid) for left in descendants())}")


def _end_descendants(deadline: float) -> bool:
    """Ask all that is left below to end, and kill it at the deadline (of the monotonic clock)."""
    for process in descendants():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    while descendants() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return kill_descendants()


def memory() -> float:
    """Return the megabytes (2**20) of this process and all below it, with shared pages split evenly."""
    total = 0
    for process in (psutil.Process(), *descendants()):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            full = process.memory_full_info()
            total += int(getattr(full, "pss", full.uss))
    return total / MEBIBYTE


def tail(log: Path) -> str:
    """Return the last lines of a log."""
    with contextlib.suppress(FileNotFoundError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-TAIL_LINES:]) or "  (nothing)"
    return "  (nothing)"
