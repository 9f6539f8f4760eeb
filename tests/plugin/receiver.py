"""A monitor as the plugin sees it: a real HTTP server on loopback that checks each request's signature for
itself, and answers as the test's script says."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

TOLERANCE = 300  # seconds; docs/events.md

Answer = Callable[["Handler", list[Any]], None]


class Receiver:
    """`script`: answers for the next requests; when it is empty, every event is taken."""

    def __init__(self) -> None:
        self.secret = os.urandom(32)
        self.script: deque[Answer] = deque()
        self.batches: list[list[Any]] = []
        self.events: dict[str, Any] = {}
        self.seen = 0
        self.wrong: list[str] = []
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.receiver = self  # type: ignore[attr-defined]
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        assert self.wrong == []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def secret_text(self) -> str:
        return "whsec_" + base64.b64encode(self.secret).decode()

    @property
    def ids(self) -> list[str]:
        return list(self.events)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def receiver(self) -> Receiver:
        found: Receiver = self.server.receiver  # type: ignore[attr-defined]
        return found

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:  # its sender died: a monitor takes no half requests
            self.close_connection = True
            return
        self.receiver.seen += 1
        if not self._signed(body):
            self.receiver.wrong.append(f"signature: {dict(self.headers)}")
        if self.path != "/api/v1/events" or self.headers["Host"] != f"127.0.0.1:{self.receiver.port}":
            self.receiver.wrong.append(f"address: {self.path} {self.headers['Host']}")
        if self.headers["Content-Type"] != "application/cloudevents-batch+json":
            self.receiver.wrong.append(f"type: {self.headers['Content-Type']}")
        batch = json.loads(body)
        self.receiver.batches.append(batch)
        answer = self.receiver.script.popleft() if self.receiver.script else take
        answer(self, batch)

    def _signed(self, body: bytes) -> bool:
        message_id, stamp = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        mac = hmac.new(self.receiver.secret, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256)
        expected = "v1," + base64.b64encode(mac.digest()).decode()
        fresh = abs(time.time() - int(stamp)) <= TOLERANCE
        return fresh and expected in self.headers["webhook-signature"].split()

    def answer(self, status: int, document: object, **headers: str) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):  # its sender died meanwhile
            self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Quiet."""


def take(handler: Handler, batch: list[Any]) -> None:
    """Every event is accepted, or a duplicate."""
    results = []
    for event in batch:
        known = event["id"] in handler.receiver.events
        handler.receiver.events.setdefault(event["id"], event)
        results.append({"id": event["id"], "status": "duplicate" if known else "accepted"})
    handler.answer(202, {"results": results})


def reject(*ids: str) -> Answer:
    """202, and these events will never be taken."""

    def answer(handler: Handler, batch: list[Any]) -> None:
        results = [
            {"id": event["id"], "status": "rejected", "reason": "unknown type"}
            if event["id"] in ids
            else {"id": event["id"], "status": "accepted"}
            for event in batch
        ]
        handler.answer(202, {"results": results})

    return answer


def status(code: int, **headers: str) -> Answer:
    return lambda handler, _batch: handler.answer(code, {"title": f"scripted {code}"}, **headers)


def document(code: int, what: object, **headers: str) -> Answer:
    return lambda handler, _batch: handler.answer(code, what, **headers)


def hang(handler: Handler, _batch: list[Any]) -> None:
    """Never answers, until the test is over."""
    handler.receiver.released.wait()
    handler.close_connection = True


def drip(handler: Handler, _batch: list[Any]) -> None:
    """A byte of an endless header now and then: each of the sender's recv calls is soon served."""
    handler.wfile.write(b"HTTP/1.1 202 Accepted\r\nX-Drip: ")
    while not handler.receiver.released.wait(0.01):
        try:
            handler.wfile.write(b"x")
        except OSError:
            break
    handler.close_connection = True


def take_and_reset(handler: Handler, batch: list[Any]) -> None:
    """The events are taken, and the connection is reset before the answer."""
    for event in batch:
        handler.receiver.events[event["id"]] = event
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True
