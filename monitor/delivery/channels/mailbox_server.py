"""The SMTP server of the embedded mailbox, on the loopback address only.

`MailboxServer` files each mail that it receives in the mailbox. A first run's own mails (from Airflow's
SmtpOperator) thereby arrive without an account at any provider. The server asks for no login, so it listens
on the loopback address only and relays no mail.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from aiosmtpd.smtp import SMTP, Envelope, Session

from monitor.delivery.channels.mailbox import Mailbox
from monitor.errors import SettingsError

MAX_MAIL = 10 * 1024 * 1024  # bytes: a report with plots. A mail is held in memory while it is received
MAX_LINES = 200_000  # of a mail, each an object of 65 bytes meanwhile. 10 MiB of usual lines are 140,000
TURN = 500  # lines that are taken before others have their turn: some milliseconds
MAX_OPEN = 20  # connections at once, which bounds that memory
MAX_RECIPIENTS = 100  # what RFC 5321 (4.5.3.1.8) asks of a server
IDLE_SECONDS = 60.0  # until a silent client is cut off
HOST = "127.0.0.1"

logger = logging.getLogger(__name__)


class MailboxServer:
    """The SMTP server of the embedded mailbox. `port` is known once `listening` is set."""

    def __init__(self, mailbox: Mailbox, port: int, max_mail: int = MAX_MAIL) -> None:
        self.port = port
        self.listening = asyncio.Event()
        self._mailbox = mailbox
        self._max_mail = max_mail
        self._open: set[_Connection] = set()

    async def run(self) -> None:
        """Listen until canceled. Raise SettingsError if the port is taken."""
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(self._connection, HOST, self.port)
        except OSError as error:
            raise SettingsError(
                f"WINDSOCK_MAILBOX_SMTP_PORT: cannot listen on {HOST}:{self.port} ({error.strerror}); "
                "choose another, or 0 for any that is free"
            ) from None
        self.port = server.sockets[0].getsockname()[1]
        self.listening.set()
        logger.info("the mailbox takes mail at %s:%d", HOST, self.port)
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            for connection in list(self._open):
                connection.cut()

    def _connection(self) -> "_Connection":
        return _Connection(self._open, self, self._max_mail)

    async def handle_RCPT(  # noqa: N802 (aiosmtpd names its hooks so)
        self, server: SMTP, session: Session, envelope: Envelope, address: str, rcpt_options: list[str]
    ) -> str:
        """Accept a recipient, up to MAX_RECIPIENTS."""
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """File the mail and answer with its id."""
        content = envelope.original_content or b""
        try:
            mail_id = await asyncio.to_thread(
                self._mailbox.file, content, envelope.rcpt_tos, envelope.mail_from or ""
            )
        except OSError as error:
            logger.exception("the mailbox cannot be written")
            return f"452 4.3.1 The mailbox cannot be written: {error.strerror}"
        return f"250 2.0.0 Filed as {mail_id}"


class _CountedLines:
    """A reader that ends its connection at more than MAX_LINES.
    The reason is that aiosmtpd bounds a mail's bytes alone, and keeps each line as an object."""

    def __init__(self, reader: asyncio.StreamReader, cut: Callable[[], None], max_mail: int) -> None:
        self.lines = self.size = 0
        self._max_mail = max_mail
        self._reader = reader
        self._cut = cut

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        self.lines += 1
        if self.lines > MAX_LINES and self.size <= self._max_mail:  # of a mail that is too long none is kept
            logger.warning("mailbox: a mail of more than %d lines is turned away", MAX_LINES)
            self._cut()
            raise asyncio.CancelledError  # as aiosmtpd ends the work of a connection that was lost
        if self.lines % TURN == 0:
            await asyncio.sleep(0)  # what has come is taken without a wait
        line = await self._reader.readuntil(separator)
        self.size += len(line)
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


class _Connection(SMTP):
    """A client. Open clients are counted, so that all are bounded and can be ended."""

    def __init__(self, opened: "set[_Connection]", server: MailboxServer, max_mail: int) -> None:
        super().__init__(
            server,
            data_size_limit=max_mail,
            enable_SMTPUTF8=True,
            hostname="localhost",
            ident="Windsock's embedded mailbox",
            timeout=IDLE_SECONDS,
            loop=asyncio.get_running_loop(),
        )
        self._opened = opened
        self._max_mail = max_mail

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opened.add(self)
        if len(self._opened) > MAX_OPEN:
            logger.warning("mailbox: more than %d connections at once; one is turned away", MAX_OPEN)
            self.cut()

    def _cb_client_connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super()._cb_client_connected(reader, writer)
        self._reader = cast("asyncio.StreamReader", _CountedLines(reader, self.cut, self._max_mail))

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        counted = cast("_CountedLines", self._reader)
        counted.lines = counted.size = 0
        await super().smtp_DATA(arg)

    def connection_lost(self, error: Exception | None) -> None:
        self._opened.discard(self)
        super().connection_lost(error)

    def cut(self) -> None:
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()
