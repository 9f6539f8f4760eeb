"""The bounds on answers to Apprise's plugins, which read an answer whole and for as long as it comes.

An answer of 2 kB can unpack to gigabytes. A receiver that sends one byte a second stays within the plugins'
own timeouts.

The plugins call `requests` by themselves and take no session from the monitor. `bound_requests` therefore
replaces the adapter of new `requests` sessions, once for the whole process.
"""

import io
import socket
import time
from collections.abc import Callable
from functools import cache
from http.client import HTTPException, HTTPResponse
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

MAX_ANSWER = 1024 * 1024  # bytes, unpacked: plugins look for an id or a reason in it
PIECE = 64 * 1024  # bytes unpacked at a time
MAX_HEAD = 256 * 1024  # bytes until status and headers are read. `100 Continue` may come before
MAX_RECEIVED = 2 * MAX_ANSWER  # bytes of a body as they come, packed or not
ANSWER_SECONDS = 10.0  # for the whole answer with its head. Plugins wait 4 s for each of its parts


class BoundedAdapter(HTTPAdapter):
    """An adapter that reads the first MAX_ANSWER bytes of a body, because the status says enough.

    It follows no redirect: the target may be an address that only the monitor reaches.
    """

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the pool, with bounded answers."""
        super().init_poolmanager(*args, **options)
        _bound_connections(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """Make the pool of a proxy, with bounded answers."""
        manager = super().proxy_manager_for(*args, **options)
        _bound_connections(manager)
        return manager

    def build_response(
        self, req: requests.PreparedRequest, resp: urllib3.BaseHTTPResponse
    ) -> requests.Response:
        """Build the response from the beginning of the body, without a redirect."""
        response = super().build_response(req, resp)
        response._content = _beginning(resp)
        response._content_consumed = True
        if response.is_redirect:
            del response.headers["location"]
        return response


class BoundedResponse(HTTPResponse):
    """An HTTP answer that is bounded in bytes and time."""

    def __init__(
        self, sock: socket.socket, *args: Any, now: Callable[[], float] = time.monotonic, **options: Any
    ) -> None:
        super().__init__(sock, *args, **options)
        self.fp.close()
        self._received = _Received(sock, now)
        self.fp = io.BufferedReader(self._received)

    def begin(self) -> None:
        """Read the status and the headers, then begin to count the body."""
        super().begin()
        self._received.left = MAX_RECEIVED


class _Received(io.RawIOBase):
    """A reader of a socket, up to a number of bytes and a moment."""

    def __init__(self, sock: socket.socket, now: Callable[[], float]) -> None:
        self._now = now
        self.left = MAX_HEAD
        self._socket = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._read_timeout = sock.gettimeout()
        self._until = now() + ANSWER_SECONDS

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read into the buffer. Raises TimeoutError and HTTPException."""
        seconds = self._until - self._now()
        if seconds <= 0:
            raise TimeoutError(f"the answer has no end within {ANSWER_SECONDS:.0f} s")
        self._socket.settimeout(seconds if self._read_timeout is None else min(self._read_timeout, seconds))
        size = self._raw.readinto(buffer)
        self.left -= size or 0
        if self.left < 0:
            raise HTTPException("the answer is too long")
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


def _bound_connections(manager: urllib3.PoolManager) -> None:
    pools: dict[str, Any] = dict(manager.pool_classes_by_scheme)
    manager.pool_classes_by_scheme = {scheme: _bounded(pool) for scheme, pool in pools.items()}


@cache
def _bounded(pool: Any) -> Any:
    """Return this class of connection pools (plain, TLS, SOCKS) with answers that are bounded."""
    if issubclass(pool.ConnectionCls.response_class, BoundedResponse):
        return pool
    connection = type("BoundedConnection", (pool.ConnectionCls,), {"response_class": BoundedResponse})
    return type("BoundedPool", (pool,), {"ConnectionCls": connection})


def _beginning(raw: urllib3.BaseHTTPResponse) -> bytes:
    body = bytearray()
    try:
        for piece in raw.stream(PIECE, decode_content=True):
            body += piece
            if len(body) >= MAX_ANSWER:
                break
    except (urllib3.exceptions.HTTPError, OSError):
        pass  # the status has come, and is the answer. The plugin reports what it misses
    raw.close()
    return bytes(body[:MAX_ANSWER])


def bound_requests() -> None:
    """Have each session of `requests` read bounded answers from now on."""
    setattr(requests.sessions, "HTTPAdapter", BoundedAdapter)  # noqa: B010 (it is not exported by name)
