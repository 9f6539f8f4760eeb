"""The HTTP POST that ends by a deadline, whatever the other side does.

A socket's timeout is for each call, so a peer that sends a byte now and then could hold a task for ever. One
deadline therefore covers resolving, connecting, TLS, sending and receiving. Each call gets the time that is
left.

Proxy variables of the environment are ignored. They are for the tasks' traffic, and would redirect loopback
requests.
"""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from airflow_windsock.settings import Endpoint

if TYPE_CHECKING:
    import ssl

MAX_ANSWER = 1024 * 1024  # bytes: 500 results with their reasons take about 100 KiB


class Unreachable(Exception):
    """No answer: refused, reset, too late, not HTTP. What was sent may have arrived."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, as far as the sender reads it."""

    status: int
    body: bytes
    content_type: str
    """Without its parameters, in lower case."""
    retry_after: str


def post(endpoint: Endpoint, body: bytes, headers: Mapping[str, str], seconds: float) -> Answer:
    """Post `body` and return the answer. Raises Unreachable, at the latest when `seconds` are over."""
    deadline = time.monotonic() + seconds
    import http.client  # only where something is sent: importing it takes 25 ms

    try:
        with closing(_connect(endpoint, deadline)) as connected:
            connection = http.client.HTTPConnection(endpoint.host, endpoint.port)
            connection.sock = cast("socket.socket", _Deadlined(connected, deadline))
            if endpoint.port in (80, 443):  # the Host header goes by the scheme, which this class cannot know
                connection.port = connection.default_port = endpoint.port
            connection.request("POST", endpoint.path, body, {**headers, "Connection": "close"})
            response = connection.getresponse()
            response_headers = response.headers
            return Answer(
                response.status,
                _body(response),
                response_headers.get_content_type(),
                response_headers.get("Retry-After", ""),
            )
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{type(error).__name__}: {error}") from error


def _body(response: Any) -> bytes:
    body = cast("bytes", response.read(MAX_ANSWER + 1))
    if len(body) > MAX_ANSWER:
        raise Unreachable(f"the answer is longer than {MAX_ANSWER} bytes: this is no Windsock monitor")
    return body


def _connect(endpoint: Endpoint, deadline: float) -> socket.socket:
    addresses = _resolve(endpoint.host, endpoint.port, deadline)
    for position, (family, address) in enumerate(addresses):
        connected = socket.socket(family, socket.SOCK_STREAM)
        try:
            # A share for each address that is left: one that swallows packets leaves time for the next.
            connected.settimeout(_remaining_seconds(deadline) / (len(addresses) - position))
            connected.connect(address)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return _wrap_tls(connected, endpoint, deadline) if endpoint.tls else connected
        except OSError:
            connected.close()
            if position == len(addresses) - 1:
                raise
    raise OSError(f"{endpoint.host} has no address")


def _wrap_tls(connected: socket.socket, endpoint: Endpoint, deadline: float) -> socket.socket:
    connected.settimeout(_remaining_seconds(deadline))  # for the whole handshake: ssl counts it so
    return _tls_context().wrap_socket(connected, server_hostname=endpoint.host)


@lru_cache(maxsize=1)
def _tls_context() -> ssl.SSLContext:
    import ssl

    return ssl.create_default_context()


def _resolve(host: str, port: int, deadline: float) -> list[tuple[int, Any]]:
    """Return the host's addresses.
    The system's resolver knows no deadline, so it runs in a thread that is abandoned if it takes too long. A
    numeric address needs no resolver and no thread."""
    found: list[tuple[int, Any]] = []
    failed: list[OSError] = []

    def look_up(flags: int = 0) -> None:
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
            found.extend((family, address) for family, _, _, _, address in addresses)
        except OSError as error:
            failed.append(error)

    look_up(socket.AI_NUMERICHOST)
    if found:
        return found
    failed.clear()
    thread = threading.Thread(target=look_up, name="windsock-resolver", daemon=True)
    thread.start()
    thread.join(_remaining_seconds(deadline))
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError(f"looking up {host} takes too long")
    return found


def _remaining_seconds(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("no time is left for the request")
    return left


class _Deadlined:
    """The part of a socket that http.client uses. Each call may take the time that is left."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._connected = connected
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._connected.settimeout(_remaining_seconds(self._deadline))  # for all of it: sendall counts it so
        self._connected.sendall(data)

    def makefile(self, *_mode: object) -> io.BufferedReader:
        return io.BufferedReader(_Received(self._connected, self._deadline))

    def close(self) -> None:
        """Do nothing: http.client closes before the answer is read, and `post` closes the socket itself."""


class _Received(io.RawIOBase):
    def __init__(self, connected: socket.socket, deadline: float) -> None:
        super().__init__()
        self._connected = connected
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connected.settimeout(_remaining_seconds(self._deadline))
        return self._connected.recv_into(buffer)
