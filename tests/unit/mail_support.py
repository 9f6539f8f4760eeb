"""A real SMTP server with STARTTLS and a login, whose replies a test writes beforehand."""

import asyncio
import ssl
import warnings
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from monitor.delivery.channels.smtp import SmtpMailer
from monitor.delivery.channels.smtp_connection import SmtpServer

USER, PASSWORD = "windsock@example.com", "abcd efgh ijkl mnop"
SENDER = "windsock@example.com"
HANG = "hang"
DROP = "drop"
ACCEPT = "250 2.0.0 OK"
TIMEOUT = 0.5  # seconds for a mail server that hangs on purpose
DATA_TIMEOUT = 0.5


class MailServer:
    """Answers MAIL, RCPT, DATA and AUTH from its scripts, and with 250 when they are used up."""

    def __init__(self, ca: trustme.CA, implicit_tls: bool = False) -> None:
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ca.issue_cert("localhost").configure_cert(self.context)
        self.implicit_tls = implicit_tls
        self.port = 0
        self.connections = 0
        self.logins: list[str] = []
        self.taken: list[EmailMessage] = []
        self.raw: list[bytes] = []
        self.envelopes: list[tuple[str, ...]] = []
        self.script: dict[str, deque[str]] = {verb: deque() for verb in ("MAIL", "RCPT", "DATA", "AUTH")}
        self.open: set[_Connection] = set()

    def say(self, verb: str, *replies: str) -> None:
        self.script[verb].extend(replies)

    def next(self, verb: str) -> str:
        return self.script[verb].popleft() if self.script[verb] else ACCEPT

    @asynccontextmanager
    async def running(self) -> AsyncIterator["MailServer"]:
        tls = self.context if self.implicit_tls else None
        server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self), "127.0.0.1", self.port, ssl=tls
        )
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()

    def cut(self) -> None:
        for connection in list(self.open):
            if connection.transport is not None:
                connection.transport.abort()  # type: ignore[attr-defined]

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = await self._reply("MAIL", server)
        if reply.startswith("250"):
            envelope.mail_from = address
        return reply

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = await self._reply("RCPT", server)
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        reply = await self._reply("DATA", server)
        if reply.startswith("250"):
            content = envelope.original_content
            assert content is not None
            message = message_from_bytes(content, policy=policy.default)
            assert isinstance(message, EmailMessage)
            self.taken.append(message)
            self.raw.append(content)
            self.envelopes.append(tuple(envelope.rcpt_tos))
        return reply

    async def _reply(self, verb: str, server: SMTP) -> str:
        reply = self.next(verb)
        if reply == HANG:
            await asyncio.Event().wait()
        if reply == DROP:
            assert server.transport is not None
            server.transport.abort()  # type: ignore[attr-defined]
            await asyncio.Event().wait()
        return reply

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        reply = self.next("AUTH")
        self.logins.append(data.login.decode())
        right = (data.login.decode(), data.password.decode()) == (USER, PASSWORD)
        if reply != ACCEPT:
            return AuthResult(success=False, handled=False, message=reply)
        return AuthResult(success=right, handled=False)


class _Connection(SMTP):
    def __init__(self, here: MailServer) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Requiring AUTH")  # aiosmtpd does not see TLS below it
            super().__init__(
                here,
                hostname="localhost",
                tls_context=None if here.implicit_tls else here.context,
                require_starttls=not here.implicit_tls,
                auth_required=True,
                auth_require_tls=not here.implicit_tls,
                authenticator=here.authenticate,
                loop=asyncio.get_running_loop(),
            )
        self._here = here

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self not in self._here.open:
            self._here.connections += 1
            self._here.open.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._here.open.discard(self)
        super().connection_lost(error)


def ca_file(ca: trustme.CA, folder: Path) -> Path:
    path = folder / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return path


def mailer_for(server: MailServer, ca: Path | None, **changes: Any) -> SmtpMailer:
    settings: dict[str, Any] = {
        "host": "localhost",
        "port": server.port,
        "security": "tls" if server.implicit_tls else "starttls",
        "sender": SENDER,
        "username": USER,
        "password": PASSWORD,
        "timeout": TIMEOUT,
        "ca_file": ca,
        **changes,
    }
    return SmtpMailer(SmtpServer(**settings), data_seconds=DATA_TIMEOUT)


def a_mail(subject: str = "✗ größe") -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = SENDER
    message["To"] = "ops@example.com"
    message["Message-ID"] = "<1@example.com>"
    message.set_content("größe\n")
    message.add_alternative("<p>größe</p>", subtype="html")
    return message
