"""What holds the monitors up: whose CPU is used, and what PostgreSQL's backends wait for."""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine, text

LOOK_SECONDS = 0.02
TICKS = os.sysconf("SC_CLK_TCK")
_ACTIVE = text(
    "SELECT coalesce(wait_event_type || ':' || wait_event, 'CPU') FROM pg_stat_activity "
    "WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


@dataclass
class Strain:
    """Of one measurement."""

    seconds: float = 0.0
    cpu: Counter[str] = field(default_factory=Counter)
    """Milliseconds of a processor, by who used it."""
    waits: Counter[str] = field(default_factory=Counter)
    """How often a backend that had work to do was seen to wait for this; `CPU`: for nothing."""
    looks: int = 0
    memory: int = 0
    """Megabytes that the largest of the named processes had at its largest."""

    def __str__(self) -> str:
        used = ", ".join(f"{name} {ms / 10 / self.seconds:.0f} %" for name, ms in self.cpu.items())
        waits = ", ".join(f"{name} {number / self.looks:.2f}" for name, number in self.waits.most_common(4))
        return f"CPU: {used}; backends at work: {waits or 'none'}; memory: {self.memory} MB"


@contextmanager
def watched(engine: Engine, pids: Mapping[str, Sequence[int]], postmaster: int) -> Iterator[Strain]:
    """Look at it while the block runs. `pids`: whose CPU is told, by name."""
    strain, ended = Strain(), threading.Event()
    looking = threading.Thread(target=_look, args=(engine, strain, ended), name="looks")
    before, began = _used(pids, postmaster), time.perf_counter()
    looking.start()
    try:
        yield strain
    finally:
        strain.seconds = time.perf_counter() - began
        strain.cpu = _used(pids, postmaster)
        strain.cpu.subtract(before)
        strain.memory = max(_most_memory(pid) for some in pids.values() for pid in some)
        ended.set()
        looking.join()


def _look(engine: Engine, strain: Strain, ended: threading.Event) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not ended.wait(LOOK_SECONDS):
            strain.waits.update(connection.execute(_ACTIVE).scalars())
            strain.looks += 1


def _used(pids: Mapping[str, Sequence[int]], postmaster: int) -> Counter[str]:
    used = Counter({name: sum(map(_milliseconds, some)) for name, some in pids.items()})
    used["PostgreSQL"] = _milliseconds(postmaster, ended=True) + sum(
        map(_milliseconds, _children(postmaster))
    )
    return used


def _milliseconds(pid: int, ended: bool = False) -> int:
    """`ended`: with its children that are gone. 0 for a process that is gone itself."""
    fields = _stat(pid)
    return sum(map(int, fields[11 : 15 if ended else 13])) * 1000 // TICKS if fields else 0


def _most_memory(pid: int) -> int:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) // 1024


def _children(parent: int) -> Iterator[int]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            fields = _stat(int(folder.name))
            if fields and int(fields[1]) == parent:
                yield int(folder.name)


def _stat(pid: int) -> list[str]:
    """What follows the command's name (proc(5)); nothing for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
