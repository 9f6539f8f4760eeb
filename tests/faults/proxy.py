"""A network that fails: an HTTP proxy that forwards each request, or does to it what a network can do.

It stands between two real programs. A fault is chosen for each request by whoever made the proxy; what it
does is one row of a table here. Every cut is a reset, as after a router's or a peer's sudden end.
"""

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from enum import Enum
from typing import Any, TypeVar

import h11

CHUNK = 65_536  # bytes read at once
RESET = struct.pack("ii", 1, 0)  # SO_LINGER for zero seconds: close() sends RST
STOP_SECONDS = 10.0

T = TypeVar("T")


class Cut(str, Enum):
    """What may become of a request."""

    NONE = "none"
    REFUSED = "refused"
    """Cut before the server heard of it."""
    HALF_REQUEST = "half request"
    """The server gets the first half, then a reset."""
    LOST_ANSWER = "lost answer"
    """The server has done it and answered in full; the client gets a reset."""
    HALF_ANSWER = "half answer"
    """The client gets the first half of the answer, then a reset."""
    DELAYED = "delayed"
    """Forwarded late, and answered."""


Choose = Callable[[], "tuple[Cut, float]"]
"""The next request's fault, and how many seconds it is delayed where it is."""


class _Gone(Exception):
    """One of the two ends has closed its connection."""


class FaultyProxy:
    """start() … url … stop(). `choose` is asked once a request; nothing is done while `healed`."""

    def __init__(self, upstream_port: int, choose: Choose) -> None:
        self.counts: Counter[Cut] = Counter()
        self.healed = False
        self._upstream_port = upstream_port
        self._choose = choose
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._open: set[asyncio.Task[None]] = set()

    def start(self) -> "FaultyProxy":
        self._thread.start()
        self._server = self._run(self._listen())
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def stop(self) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_SECONDS)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(STOP_SECONDS)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _close(self) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection: request after request, each over a connection upstream of its own."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (_Gone, OSError, h11.RemoteProtocolError):
            pass  # either end may go at any time: that is what all this is about
        except asyncio.CancelledError:
            pass  # the proxy stops; a cancelled handler would be reported as a failure
        finally:
            self._open.discard(task)
            _reset(writer)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False where the connection is to be cut."""
        request = await _message(reader, h11.Connection(h11.SERVER))
        cut, delay = (Cut.NONE, 0.0) if self.healed else self._choose()
        self.counts[cut] += 1
        if cut is Cut.REFUSED:
            return False
        if cut is Cut.DELAYED:
            await asyncio.sleep(delay)
        answer = await self._forward(request, cut is Cut.HALF_REQUEST)
        if cut in (Cut.HALF_REQUEST, Cut.LOST_ANSWER):
            return False
        writer.write(answer[: len(answer) // 2] if cut is Cut.HALF_ANSWER else answer)
        await writer.drain()
        return cut is not Cut.HALF_ANSWER

    async def _forward(self, request: bytes, half: bool) -> bytes:
        """The server's whole answer. Raises OSError and _Gone."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        try:
            writer.write(request[: len(request) // 2] if half else request)
            await writer.drain()
            return b"" if half else await _message(reader, _after(request))
        finally:
            _reset(writer)


async def _message(reader: asyncio.StreamReader, framing: h11.Connection) -> bytes:
    """The bytes of one whole message as they came; h11 says where it ends. Raises _Gone."""
    raw = bytearray()
    while True:
        event = framing.next_event()
        if isinstance(event, h11.EndOfMessage):
            return bytes(raw)
        if event is h11.NEED_DATA:
            received = await reader.read(CHUNK)
            if not received and not raw:
                raise _Gone
            framing.receive_data(received)
            raw += received
        elif isinstance(event, h11.ConnectionClosed):
            raise _Gone


def _after(request: bytes) -> h11.Connection:
    """The client's side of a conversation in which this request was sent: the answer's length hangs on it."""
    server, client = h11.Connection(h11.SERVER), h11.Connection(h11.CLIENT)
    server.receive_data(request)
    sent = server.next_event()
    assert isinstance(sent, h11.Request)
    client.send(sent)
    return client


def _reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        connected = writer.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
