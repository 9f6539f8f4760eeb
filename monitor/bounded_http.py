"""Bodies of HTTP answers, bounded after they are unpacked: 2 kB can unpack to gigabytes.

httpx unpacks a whole piece before it hands it on. Here a body is unpacked in small pieces, by one layer of
gzip at most, and given up on as soon as it is longer than its reader wants.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx

from monitor.errors import WindsockError

PIECE = 64 * 1024  # bytes unpacked at a time
ACCEPT = {"Accept-Encoding": "gzip"}
"""The header of a client whose answers are read here; a packing that it does not name is not read."""
_NOT_PACKED = ("", "identity")
_PACKED = ("gzip", "x-gzip", "deflate")
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # zlib finds out which of the two it is


class UnreadableBody(WindsockError):
    """A body is too long, or packed in a way that is not read."""


class TooLongBody(UnreadableBody):
    """A body is longer than its reader takes."""


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
        for piece in _unpacked(unpacking, packed):
            yield piece
            # What came at once may unpack to a thousand pieces: others have their turn.
            await asyncio.sleep(0)
    if not unpacking.eof:
        raise UnreadableBody("it ends before it is unpacked")


def _unpacked(unpacking: Any, packed: bytes) -> Iterator[bytes]:
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
