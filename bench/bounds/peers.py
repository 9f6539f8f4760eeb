"""The servers that the monitor asks, each of which misbehaves on demand."""

import asyncio
import gzip
import json
import threading
import time
import zlib
from base64 import urlsafe_b64encode
from collections import Counter
from functools import cache
from typing import Any

from tests.unit.hostile_smtp import HostileServer

MIB = 1024 * 1024
UNPACKED = 1_300 * MIB  # what a bomb holds
PIECE = 256 * 1024
USER, PASSWORD = "alice", "alice's secret"
DAG = "strained"


@cache
def bomb() -> bytes:
    """UNPACKED bytes of spaces, packed to a thousandth."""
    packing = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    spaces = b" " * MIB
    return b"".join(packing.compress(spaces) for _ in range(UNPACKED // MIB)) + packing.flush()


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def packed(body: bytes) -> bytes:
    return answer(body, "Content-Encoding: gzip", "Content-Type: application/json")


class Peers:
    """An HTTP server in a thread: `say` sets what is answered to whatever is asked at a beginning of a path.
    Airflow's own answers are given where nothing else is set. A mail server stands beside it."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.mail = HostileServer(byte_seconds=0)
        self.port = 0
        self._said: dict[str, bytes] = {}
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._run(),), daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "Peers":
        self._thread.start()
        self._up.wait()
        return self

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def say(self, path: str, body: bytes | None) -> None:
        """Answer this to requests whose path begins so; None: as usual again."""
        if body is None:
            self._said.pop(path, None)
        else:
            self._said[path] = body

    async def _run(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with self.mail.running():
            self._up.set()
            await self._over.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            _, target, _ = head.split(" ", 2)
            length = next(
                (int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-length:")),
                0,
            )
            await reader.readexactly(length)
            body = next((body for path, body in self._said.items() if target.startswith(path)), None)
            self.asked[target.partition("?")[0]] += 1
            writer.write(body or _usual(target))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            writer.close()


def _usual(target: str) -> bytes:
    path = target.partition("?")[0]
    if path == "/auth/token":
        return _json({"access_token": _token(), "token_type": "Bearer", "expires_in": 3600}, "201 Created")
    if path == "/token":
        return _json({"access_token": "a" * 100, "expires_in": 3600})
    if path == "/api/v2/dags":
        return _json({"dags": [{"dag_id": DAG}], "total_entries": 1})
    if path.startswith("/api/v2/"):
        keys = {"dagRuns": "dag_runs", "taskInstances": "task_instances", "events": "asset_events"}
        last = path.rpartition("/")[2]
        return _json({keys.get(last, last): [], "total_entries": 0})
    return answer(b"ok")


def _json(value: Any, status: str = "200 OK") -> bytes:
    return answer(json.dumps(value).encode(), "Content-Type: application/json", status=status)


def _token() -> str:
    now = int(time.time())
    claims = json.dumps({"sub": USER, "iat": now, "exp": now + 3600, "n": time.time_ns()}).encode()
    return f"e30.{urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln"


def many_values(size: int, body: bytes = b"[],") -> bytes:
    """JSON of this many bytes, all of it values."""
    return gzip.compress(b'{"dags":[' + body * (size // len(body)) + b"1]}", 1)
