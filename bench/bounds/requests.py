"""Requests of somebody without a key: heads, addresses, bodies, connections."""

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

from bench.bounds.peers import MIB
from bench.bounds.stage import OPEN_FILES, Strained
from bench.bounds.trial import Trial
from monitor.web.http_protocol import HEAD_SECONDS, MAX_HEAD, MAX_TARGET
from monitor.web.security import MAX_FORM

FLOOD = 64 * MIB
PIECE = b"a" * 64 * 1024
HALF_OPEN = 300
AT_ONCE = 25


def raw(monitor: Strained, *parts: bytes) -> str:
    """Send these bytes over one connection; return the status, or that the connection was cut."""
    with closing(monitor.connect()) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except OSError:
            pass
        return status_of(connection)


def status_of(connection: socket.socket) -> str:
    try:
        line = connection.recv(4096)
    except OSError:
        return "cut"
    return line.split(b" ")[1].decode() if line else "cut"


def target(monitor: Strained, length: int) -> str:
    """An address of this length, which no redactor likes."""
    address = (b"/livez?" + b"a://" * length)[:length]
    return raw(monitor, b"GET " + address + b" HTTP/1.1\r\nHost: x\r\n\r\n")


def evil_path(monitor: Strained) -> str:
    """Addresses that reach the log, one after the other: each of their parts is looked at for secrets."""
    units = (b"a://", b"/links/a/", b"://@", b"%0a", b"a", b"/")
    answers = Counter(
        raw(
            monitor,
            b"GET /" + (unit * MAX_TARGET)[: MAX_TARGET - 1] + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        )
        for _ in range(10)
        for unit in units
    )
    return counted(answers)


def head(monitor: Strained, length: int) -> str:
    """A request with so many bytes of headers, none of which is too long by itself."""
    headers = b"".join(
        b"X: %s\r\n" % (b"a" * part) for part in (*[1_000] * (length // 1_000), length % 1_000)
    )
    return raw(monitor, b"GET /livez HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")


def flood(monitor: Strained, beginning: bytes) -> str:
    """As much as is taken, of FLOOD."""
    with closing(monitor.connect()) as connection:
        sent = 0
        with suppress(OSError):
            connection.sendall(beginning)
            while sent < FLOOD:
                connection.sendall(PIECE)
                sent += len(PIECE)
        return f"{status_of(connection)} after {sent / MIB:.1f} MiB"


def half_open(monitor: Strained) -> str:
    """Heads that do not end, and how long they are let stand."""
    began = time.monotonic()
    waiting = [monitor.connect() for _ in range(HALF_OPEN)]
    for connection in waiting:
        connection.sendall(b"GET / HTTP/1.1\r\nHos")
    ended = Counter(status_of(connection) for connection in waiting)
    for connection in waiting:
        connection.close()
    return f"{counted(ended)} after {time.monotonic() - began:.0f} s"


def many_connections(monitor: Strained) -> str:
    """More connections than the process may open files, and a request among them."""
    waiting: list[socket.socket] = []
    for _ in range(2 * OPEN_FILES):
        with suppress(OSError):
            waiting.append(monitor.connect())
    answer = raw(monitor, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    for connection in waiting:
        connection.close()
    return f"a newcomer gets {answer}"


def unsigned(monitor: Strained, headers: bytes = b"") -> str:
    return flood(
        monitor,
        b"POST /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Content-Type: application/cloudevents-batch+json\r\n"
        + headers
        + b"Content-Length: %d\r\n\r\n" % FLOOD,
    )


def form(monitor: Strained, length: int) -> str:
    body = (b"username=" + b"a" * length)[:length]
    head = b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    return raw(monitor, head + b"Content-Length: %d\r\n\r\n" % length, body)


def opened(monitor: Strained, number: int, request: bytes) -> str:
    """So many connections that stay, each with this request; some at a time, for a flood is another thing."""
    connections: list[socket.socket] = []
    statuses: Counter[str] = Counter()
    for first in range(0, number, AT_ONCE):
        some = [monitor.connect() for _ in range(min(AT_ONCE, number - first))]
        for connection in some:
            connection.sendall(request)
        statuses.update(map(status_of, some))
        connections += some
    for connection in connections:
        connection.close()
    return counted(statuses)


def counted(answers: Counter[str]) -> str:
    return ", ".join(f"{number} × {answer}" for answer, number in sorted(answers.items()))


def trials() -> Iterator[Trial]:
    def plain(surface: str, sends: str, act: Callable[[Strained], str]) -> Trial:
        return Trial(surface, sends, lambda stage: act(stage.plain))

    yield plain("address", f"{MAX_TARGET} bytes", lambda m: target(m, MAX_TARGET))
    yield plain("address", f"{MAX_TARGET + 1} bytes", lambda m: target(m, MAX_TARGET + 1))
    yield plain("address", "64 MiB", lambda m: flood(m, b"GET /"))
    yield plain("address that is logged", "60 of the worst 8 KiB", evil_path)
    yield plain("head", f"{MAX_HEAD - 100} bytes", lambda m: head(m, MAX_HEAD - 100))
    yield plain("head", f"{MAX_HEAD} bytes and the rest", lambda m: head(m, MAX_HEAD))
    yield plain("head", "64 MiB in one header", lambda m: flood(m, b"GET / HTTP/1.1\r\nHost: x\r\nX: "))
    yield plain("head's time", f"{HALF_OPEN} heads without an end ({HEAD_SECONDS:.0f} s)", half_open)
    yield plain("connections", f"{2 * OPEN_FILES}, {OPEN_FILES} files may be open", many_connections)
    yield plain("body, unsigned", "64 MiB", unsigned)
    yield Trial("form", f"{MAX_FORM} bytes", lambda stage: form(stage.guarded, MAX_FORM), True)
    yield Trial("form", f"{MAX_FORM + 1} bytes", lambda stage: form(stage.guarded, MAX_FORM + 1), True)
