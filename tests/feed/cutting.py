"""A network that cuts a feed off: a TCP proxy that lets so many bytes of an answer through, and no more.

It stands between a real monitor and a real reader. How many bytes is drawn anew for each connection from a
seed, one to a few million, each order of magnitude as likely as the next: in the head, within a cursor, in
the middle of a character, far into a backlog.
"""

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

CHUNK = 65_536  # bytes read at once
FEED = b"GET /events"  # what is cut; a page that a browser loads first is not
MOST_BYTES = 6.5  # as a power of ten: three millions, about half of what the tests read through it
RESET = struct.pack("ii", 1, 0)  # SO_LINGER for zero seconds: close() sends RST, not FIN
STOP_SECONDS = 10.0

T = TypeVar("T")


class CuttingProxy:
    """start() … url … stop(). Cuts the first `cuts` feeds by itself, and all that are open at cut()."""

    def __init__(self, upstream_port: int, seed: str, cuts: int) -> None:
        self.cut_off = 0
        self._upstream_port = upstream_port
        self._random = random.Random(seed)  # noqa: S311 (to be repeatable is its purpose)
        self._left = cuts
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._open: set[asyncio.Task[None]] = set()
        self._feeds: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    def start(self) -> "CuttingProxy":
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def stop(self) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_SECONDS)
        self._loop.close()

    def cut(self) -> None:
        """Cut every feed that is open."""
        self._run(self._cut_all())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(STOP_SECONDS)

    async def _close(self) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _cut_all(self) -> None:
        for writer, task in list(self._feeds.items()):
            self._cut(writer)
            task.cancel()

    def _cut(self, writer: asyncio.StreamWriter) -> None:
        """With a reset, which may take what the reader has not read yet, or with an orderly end too early."""
        self.cut_off += 1
        if self._random.random() < 0.5:
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._pass_on(reader, writer, task)
        except (OSError, asyncio.IncompleteReadError):
            pass  # either end may go at any time: that is what all this is about
        except asyncio.CancelledError:
            pass  # it was cut, or the proxy stops; a cancelled handler would be reported as a failure
        finally:
            self._open.discard(task)
            self._feeds.pop(writer, None)
            writer.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, task: "asyncio.Task[None]"
    ) -> None:
        """One request's answer, as far as it goes."""
        request = await reader.readuntil(b"\r\n\r\n")
        answers, upstream = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        try:
            upstream.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            left = self._allowance(request)
            if request.startswith(FEED):
                self._feeds[writer] = task
            while chunk := await answers.read(CHUNK):
                writer.write(chunk if left is None else chunk[:left])
                await writer.drain()
                if left is not None and (left := left - len(chunk)) <= 0:
                    self._cut(writer)
                    return
        finally:
            upstream.close()

    def _allowance(self, request: bytes) -> int | None:
        """Bytes that the answer may take; None: all."""
        if not (request.startswith(FEED) and self._left):
            return None
        self._left -= 1
        return int(10 ** self._random.uniform(0, MOST_BYTES))
