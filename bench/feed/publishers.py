"""Publishing the same bodies to both: to the monitor signed and in batches, to nchan one by one."""

import json
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from types import MappingProxyType
from typing import Any, Protocol

from standardwebhooks import Webhook

from monitor.clock import utc_now
from monitor.database.engine import Database
from monitor.event_log.append import append
from monitor.events.event import parse_event
from tests.sample import task_event

BATCH = 500  # the monitor's limit
IDLE_SECONDS = 3.0  # below the 5 s after which uvicorn closes a connection that says nothing


class Publisher(Protocol):
    def publish(self, dags: Sequence[str]) -> None:
        """One event of each DAG, made now."""
        ...


def event(dag: str) -> dict[str, Any]:
    """A task's success, as Airflow's plugin tells it, that carries the moment of its making."""
    return task_event("success", dag_id=dag, run_id=f"bench-{time.monotonic_ns():019}")


def body(made: dict[str, Any]) -> str:
    return json.dumps(made, separators=(",", ":"))


class Connection:
    """POST over one kept connection, so that what publishes costs both hubs the same, and little."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self._used = time.monotonic()

    def post(self, target: str, body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        if time.monotonic() - self._used > IDLE_SECONDS:
            self._connect()
        all_headers = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())
        self._socket.sendall(f"POST {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
        self._read_answer()

    def _read_answer(self) -> None:
        while b"\r\n\r\n" not in self._buffer:
            got = self._socket.recv(65536)
            assert got, "the hub closed the connection"
            self._buffer += got
        head, _, rest = self._buffer.partition(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        while len(rest) < length:
            rest += self._socket.recv(65536)
        self._buffer = rest[length:]
        self._used = time.monotonic()
        assert b" 20" in head[:14], (head, rest[:length])


class ToMonitor:
    """POST /api/v1/events: what is accepted is durable, and decided on by the rules."""

    def __init__(self, port: int, secret: str) -> None:
        self._webhook = Webhook(secret)
        self._connection = Connection(port)
        self._sent = 0

    def publish(self, dags: Sequence[str]) -> None:
        for first in range(0, len(dags), BATCH):
            self._post(f"[{','.join(body(event(dag)) for dag in dags[first : first + BATCH])}]")

    def _post(self, batch: str) -> None:
        self._sent += 1
        now = datetime.now(timezone.utc)
        headers = {
            "content-type": "application/cloudevents-batch+json",
            "webhook-id": f"bench-{self._sent}",
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(f"bench-{self._sent}", now, batch),
        }
        self._connection.post("/api/v1/events", batch.encode(), headers)


class ToNchan:
    """POST /pub: an event a message."""

    def __init__(self, port: int) -> None:
        self._connection = Connection(port)

    def publish(self, dags: Sequence[str]) -> None:
        for dag in dags:
            self._connection.post(f"/pub?id={dag}", body(event(dag)).encode())


class ToLog:
    """Straight into the monitor's log, from another process; one event by POST wakes the feed."""

    def __init__(self, wake: ToMonitor, database: Database) -> None:
        self._wake = wake
        self._database = database

    @classmethod
    @contextmanager
    def beside(cls, wake: ToMonitor, home: str) -> "Iterator[ToLog]":
        database = Database(f"sqlite:///{home}/windsock/windsock.db")
        try:
            yield cls(wake, database)
        finally:
            database.close()

    def publish(self, dags: Sequence[str]) -> None:
        batch = [parse_event(event(dag)) for dag in dags[1:]]
        self._database.write_now(lambda connection: append(connection, batch, utc_now()))
        self._wake.publish(dags[:1])
