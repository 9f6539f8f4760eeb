"""What is asked of the monitors: requests that are signed beforehand, so that making them costs nothing, and
feeds whose readers do nothing but count.
"""

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from bench.feed.publishers import Connection
from tests.monitor_process import MonitorProcess
from tests.unit.conftest import sign

SENDERS = 8  # connections, whatever the number of monitors
ONE = b"\ndata: "
"""In each event of a feed of Server-Sent Events, and in nothing else of it."""
JOIN_SECONDS = 20.0
PATIENCE_SECONDS = 120.0

Signed = tuple[bytes, dict[str, str]]


def signed(raws: Sequence[Any], size: int, secret: str) -> list[Signed]:
    """Requests of so many events each."""
    bodies = [
        json.dumps(raws[start : start + size], separators=(",", ":")) for start in range(0, len(raws), size)
    ]
    return [(body.encode(), sign(secret, body)) for body in bodies]


def sent(monitors: Sequence[MonitorProcess], requests: Sequence[Signed]) -> float:
    """Seconds until all of them are answered."""
    left = deque(requests)
    connections = [Connection(monitors[index % len(monitors)].port) for index in range(SENDERS)]

    def send(connection: Connection) -> None:
        while True:
            try:
                body, headers = left.popleft()
            except IndexError:
                return
            connection.post("/api/v1/events", body, headers)

    began = time.perf_counter()
    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(send, connections))
    return time.perf_counter() - began


class _Counting(asyncio.Protocol):
    def __init__(self, port: int) -> None:
        self._port = port
        self._rest = b""
        self.seen = 0
        self.begun = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        chunk = self._rest + data
        self.seen += chunk.count(ONE)
        self._rest = chunk[-len(ONE) + 1 :]
        if b"heartbeat" in chunk and not self.begun.done():
            self.begun.set_result(None)


class Readers:
    """`with Readers(monitors, 50) as readers: …; readers.until(1000)`: feeds, spread over the monitors."""

    def __init__(self, monitors: Sequence[MonitorProcess], number: int) -> None:
        self._ports = [monitors[index % len(monitors)].port for index in range(number)]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="readers")
        self._open: list[tuple[asyncio.Transport, _Counting]] = []

    def __enter__(self) -> "Readers":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._join(), self._loop).result(JOIN_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        for transport, _reader in self._open:
            self._loop.call_soon_threadsafe(transport.abort)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _join(self) -> None:
        for port in self._ports:
            reader = partial(_Counting, port)
            self._open.append(await self._loop.create_connection(reader, "127.0.0.1", port))
        await asyncio.gather(*(reader.begun for _, reader in self._open))

    def until(self, events: int) -> None:
        """Every one of them has been told so many."""
        end = time.monotonic() + PATIENCE_SECONDS
        while (least := min(reader.seen for _, reader in self._open)) < events:
            assert time.monotonic() < end, f"a reader was told {least} of {events} in {PATIENCE_SECONDS} s"
            time.sleep(0.002)
