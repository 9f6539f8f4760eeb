"""How long a monitor takes to say that it is alive, and how its memory grows, while it is put under strain.

A process of its own asks: the one that strains the monitor keeps its own interpreter busy. An idle monitor is
asked in the same moments, so that what else the machine does meets both.
"""

import http.client
import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit

import psutil

EVERY = 0.02  # seconds from one question to the next
PATIENCE = 60.0  # seconds for one answer; whoever takes longer has failed, and that is what is measured


@dataclass
class Watched:
    """What was seen of a monitor, and of the idle one beside it, in one span of time."""

    longest: float = 0.0
    """Seconds of the slowest `GET /livez`."""
    idle: float = 0.0
    grown: int = 0
    """Bytes of memory at its most, beyond what it had at the beginning."""
    asked: int = 0

    @property
    def more(self) -> float:
        """Seconds beyond the idle monitor's."""
        return max(0.0, self.longest - self.idle)


@dataclass
class Probe:
    """`watching()` measures what happens within it."""

    url: str
    pid: int
    idle_url: str
    _pipe: Any = field(init=False, repr=False)
    _process: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, child_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(child_end, self.url, self.pid, self.idle_url))
        self._process.daemon = True
        self._process.start()
        self._pipe.recv()  # it is ready

    @contextmanager
    def watching(self) -> Iterator[Watched]:
        """Fill what is given when the block ends."""
        seen = Watched()
        self._pipe.send("begin")
        self._pipe.recv()
        try:
            yield seen
        finally:
            time.sleep(2 * EVERY)  # whoever is slow just now is still asked
            self._pipe.send("end")
            seen.longest, seen.idle, seen.grown, seen.asked = self._pipe.recv()

    def close(self) -> None:
        with suppress(OSError):  # it has died with us
            self._pipe.send("close")
        self._process.join(PATIENCE)


def _serve(pipe: Connection, url: str, pid: int, idle_url: str) -> None:
    process = psutil.Process(pid)
    pipe.send("ready")
    while pipe.recv() == "begin":
        over = threading.Event()
        strained, idle = _Asking(url, over), _Asking(idle_url, over)
        before = peak = process.memory_info().rss
        pipe.send("begun")
        while not pipe.poll(EVERY):
            peak = max(peak, process.memory_info().rss)
        pipe.recv()
        over.set()
        strained.join(PATIENCE)
        idle.join(PATIENCE)
        peak = max(peak, process.memory_info().rss)
        pipe.send((strained.longest, idle.longest, peak - before, strained.asked))


class _Asking(threading.Thread):
    def __init__(self, url: str, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self._where = urlsplit(url)
        self._over = over
        self.longest, self.asked = 0.0, 0
        self._connection = self._connected()
        self.start()

    def _connected(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(
            self._where.hostname or "", self._where.port, timeout=PATIENCE
        )
        connection.connect()
        return connection

    def run(self) -> None:
        while not self._over.wait(EVERY):
            began = time.perf_counter()
            try:
                self._connection.request("GET", "/livez")
                self._connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                # A kept connection may be ended between two requests; the next attempt is part of the time.
                self._connection.close()
                self._connection = self._connected()
                continue
            finally:
                self.longest = max(self.longest, time.perf_counter() - began)
                self.asked += 1
