"""An SMTP server that takes every mail and keeps it: the network's edge of the DAG tests.

The Airflow environment has no aiosmtpd; what `smtplib` needs of the protocol is a dozen verbs long.
"""

from __future__ import annotations

import email
import email.policy
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from threading import Thread
from typing import cast

_REPLIES = {
    b"EHLO": b"250 sink",
    b"MAIL": b"250 OK",
    b"RCPT": b"250 OK",
    b"DATA": b"354 End data with <CR><LF>.<CR><LF>",
    b"QUIT": b"221 Bye",
}


class SmtpSink(socketserver.ThreadingTCPServer):
    """Listens on a free loopback port; `mails` are what came, oldest first."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.mails: list[EmailMessage] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self._say(b"220 sink")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            self._say(_REPLIES.get(verb, b"502 Command not implemented"))
            if verb == b"DATA":
                self._keep(b"".join(self._lines()))
                self._say(b"250 OK")
            elif verb == b"QUIT":
                return

    def _lines(self) -> Iterator[bytes]:
        """A mail's lines up to the single dot; a dot that opens a line is doubled on the way."""
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            yield line[1:] if line.startswith(b".") else line

    def _keep(self, content: bytes) -> None:
        message = email.message_from_bytes(content, policy=email.policy.default)
        cast("SmtpSink", self.server).mails.append(message)

    def _say(self, reply: bytes) -> None:
        self.wfile.write(reply + b"\r\n")


@contextmanager
def smtp_sink() -> Iterator[SmtpSink]:
    """A sink that listens as long as the block runs."""
    with SmtpSink() as sink:
        thread = Thread(target=sink.serve_forever, kwargs={"poll_interval": 0.05}, name="smtp-sink")
        thread.start()
        try:
            yield sink
        finally:
            sink.shutdown()
            thread.join()
