"""A server at the network's edge that answers each connection in turn with given bytes and then falls silent:
what a real monitor does only when it is hurt.
"""

import socket
import ssl
import threading
from contextlib import ExitStack, suppress

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
STOP_SECONDS = 10.0


def answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer. Headers by name, `_` for `-`."""
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Canned:
    """Answers the n-th connection with the n-th answer, and holds each open."""

    def __init__(self, *answers: bytes, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[str] = []
        self._answers = answers
        self._tls = tls
        self._stopping = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}"
        self._thread = threading.Thread(target=self._run, name="canned", daemon=True)

    def __enter__(self) -> "Canned":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._listening.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._thread.join(STOP_SECONDS)
        self._listening.close()
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with ExitStack() as held:
            for told in self._answers:
                with suppress(OSError):  # the client may go at any time, or the test be over
                    connected, _ = self._listening.accept()
                    held.callback(connected.close)
                    self._serve(connected, told, held)
            self._stopping.wait()

    def _serve(self, connected: socket.socket, told: bytes, held: ExitStack) -> None:
        plain = self._tls.wrap_socket(connected, server_side=True) if self._tls else connected
        held.callback(plain.close)
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            if not (received := plain.recv(65_536)):
                return
            request += received
        self.requests.append(request.decode())
        plain.sendall(told)
