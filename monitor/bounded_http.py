"""The bounds on data read from outside: HTTP heads and HTTP bodies.

`BoundedClient` gives up on a server that sends much and no status. httpx reads `100 Continue` responses
without end, and each of them restarts its timeouts.

`pieces`, `read` and `read_beginning` unpack a body in small pieces, with one layer of compression at most.
Reading stops as soon as the body is longer than its reader wants. A body of 2 kB can unpack to gigabytes, and
httpx unpacks a whole piece before handing it on.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import httpcore
import httpx

from monitor.errors import WindsockError

PIECE = 64 * 1024  # bytes unpacked at a time
ACCEPT = {"Accept-Encoding": "gzip"}
"""The header of a client whose answers this module reads. A packing that the header does not name is not
read."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Hosts that are this machine: no proxy is asked for them, and what goes there needs no TLS."""
_NOT_PACKED = ("", "identity")
_PACKED = ("gzip", "x-gzip", "deflate")
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # zlib finds out which of the two it is
MAX_HEAD = 64 * 1024  # bytes until a status and its headers are read: servers send a few thousand
HEAD_PIECE = 4 * 1024  # bytes of it read at once, then others have their turn: 160 times `100 Continue`


class UnreadableBody(WindsockError):
    """A body is too long, or packed in a way that is not read."""


class TooLongBody(UnreadableBody):
    """A body is longer than its reader takes."""


class BoundedClient(httpx.AsyncClient):
    """The client of all that the monitor asks. A head that is too long raises httpx.RemoteProtocolError."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, event_hooks={"request": [_watch_head]})
        # httpx takes no network backend, and with a transport of one's own it forgets the proxies.
        for transport in (self._transport, *self._mounts.values()):
            if isinstance(transport, httpx.AsyncHTTPTransport):
                pool = transport._pool
                pool._network_backend = _BoundedNetwork(pool._network_backend)


class _Head:
    """The bytes that a server may still send before its status is known."""

    def __init__(self) -> None:
        self._left = MAX_HEAD

    def spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise httpcore.RemoteProtocolError(f"no status within the first {MAX_HEAD} bytes")


_head: ContextVar[_Head | None] = ContextVar("the head that is being read", default=None)


async def _watch_head(request: httpx.Request) -> None:
    request.extensions["trace"] = _notice


async def _notice(event: str, _: Any) -> None:
    """Take note of httpcore's progress with a request, in the task that reads its answer."""
    part, _, stage = event.rpartition(".")
    if part.endswith("receive_response_headers"):
        _head.set(_Head() if stage == "started" else None)


class _BoundedNetwork(httpcore.AsyncNetworkBackend):
    def __init__(self, network: httpcore.AsyncNetworkBackend) -> None:
        self._network = network

    async def connect_tcp(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return _BoundedStream(await self._network.connect_tcp(*args, **options))

    async def connect_unix_socket(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return _BoundedStream(await self._network.connect_unix_socket(*args, **options))

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


class _BoundedStream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        head = _head.get()
        if head is None:
            return await self._stream.read(max_bytes, timeout)
        await asyncio.sleep(0)
        received = await self._stream.read(min(max_bytes, HEAD_PIECE), timeout)
        head.spend(len(received))
        return received

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return _BoundedStream(await self._stream.start_tls(*args, **options))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


async def pieces(response: httpx.Response) -> AsyncIterator[bytes]:
    """Unpack the body in pieces of at most PIECE, or as they come. Raises UnreadableBody, httpx.HTTPError."""
    packing = response.headers.get("content-encoding", "").strip().lower()
    if packing in _NOT_PACKED:
        async for raw in response.aiter_raw():
            yield raw
        return
    if packing not in _PACKED:
        raise UnreadableBody(f"it is packed as {packing[:80]!r}, which was not asked for")
    unpacking = zlib.decompressobj(_GZIP_OR_ZLIB)
    async for packed in response.aiter_raw():
        for piece in _decompress(unpacking, packed):
            yield piece
            # A piece that came at once may unpack to a thousand pieces, so others have their turn.
            await asyncio.sleep(0)
    if not unpacking.eof:
        raise UnreadableBody("it ends before it is unpacked")


def _decompress(unpacking: Any, packed: bytes) -> Iterator[bytes]:
    is_more = True
    while is_more:
        try:
            piece = unpacking.decompress(packed, PIECE)
        except zlib.error as error:
            raise UnreadableBody(f"it cannot be unpacked: {error}") from None
        packed = unpacking.unconsumed_tail
        is_more = bool(packed) or len(piece) == PIECE
        if piece:
            yield piece


async def read(response: httpx.Response, limit: int) -> bytes:
    """Return the whole body. Raises TooLongBody if it is longer, UnreadableBody, httpx.HTTPError."""
    body = bytearray()
    async for piece in pieces(response):
        body += piece
        if len(body) > limit:
            raise TooLongBody(f"it is longer than {limit} bytes")
    return bytes(body)


async def read_beginning(response: httpx.Response, limit: int) -> bytes:
    """Return the first `limit` bytes of the body, or fewer. Raises UnreadableBody, httpx.HTTPError."""
    body = bytearray()
    async for piece in pieces(response):
        body += piece[: limit - len(body)]
        if len(body) >= limit:
            break
    return bytes(body)
