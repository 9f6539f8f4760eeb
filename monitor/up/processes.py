"""The processes of `windsock up`: started each in a wrapper of its own, watched, measured, and ended."""

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from monitor.up.child import KILL_SECONDS, adopt_orphans, descendants, kill_descendants
from monitor.up.errors import PartDied

GRACE_SECONDS = 5.0  # Airflow's components end within 3 s when idle; a task that runs longer is cut off
WRAPPER_SECONDS = GRACE_SECONDS + KILL_SECONDS + 2
MEASURE_SECONDS = 3.0  # reading some twenty processes takes some 20 ms
TAIL_LINES = 15
TAIL_BYTES = 64 * 1024
MEBIBYTE = 1024**2


@dataclass
class Part:
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
        self._parts: list[Part] = []
        self._watches: list[asyncio.Task[None]] = []
        self._died: asyncio.Queue[PartDied] = asyncio.Queue()
        self.peak = 0.0
        """The most megabytes that all of it has taken so far."""
        adopt_orphans()

    async def _begin(
        self, name: str, command: Sequence[str | Path], env: Mapping[str, str], grace: float
    ) -> Part:
        """Start a process; its output goes to `<name>.log`, that of its last start to `<name>.log.1`."""
        log = self._logs / f"{name}.log"
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        wrapper = [sys.executable, "-I", "-m", "monitor.up.child", str(grace)]
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
        part = Part(name, process, log)
        self._parts.append(part)
        return part

    async def start(
        self, name: str, command: Sequence[str | Path], env: Mapping[str, str], grace: float = GRACE_SECONDS
    ) -> Part:
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

    async def _report_end(self, part: Part) -> None:
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


def _obituary(part: Part, status: int) -> str:
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
