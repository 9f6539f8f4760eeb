"""Mail through an SMTP server, over one connection that is kept between mails and remade when it is gone.

The default is Gmail's submission server: smtp.gmail.com, port 587, STARTTLS, an app password.

One connection is enough: mails are few (a run's end, not a newsletter), a mail takes some ten round trips,
and Gmail counts connections against an account. What must never wait for it is ingest, and that does not.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal, TypeVar

import aiosmtplib
from aiosmtplib import SMTPException, SMTPRecipientsRefused, SMTPResponse, SMTPResponseException

from monitor.errors import SettingsError
from monitor.mailer.contract import Receipt, Refused, SendError, TryLater, Unavailable, Uncertain
from monitor.mailer.replies import error_of, of_recipients, of_response, plain, without_secrets
from monitor.settings import Settings

DATA_SECONDS = 60.0  # servers scan a mail before they answer it (RFC 5321 4.5.3.2.6 grants them far more);
# giving up earlier makes a mail uncertain that was only slow
QUIT_SECONDS = 2.0  # a polite end is tried, not waited for

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Server:
    """Where mail goes, and as whom."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    sender: str
    username: str | None = None
    password: str = field(default="", repr=False)
    timeout: float = 20.0
    ca_file: Path | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Server":
        """Raises SettingsError where no server is set."""
        if not settings.smtp_host:
            raise SettingsError("WINDSOCK_SMTP_HOST: no mail server is set")
        return cls(
            host=settings.smtp_host,
            port=settings.smtp_port,
            security=settings.smtp_security,
            sender=settings.sender,
            username=settings.smtp_username,
            password=settings.smtp_password.get_secret_value() if settings.smtp_password else "",
            timeout=settings.smtp_timeout,
            ca_file=settings.smtp_ca_file,
        )


class _Conversation(aiosmtplib.SMTP):
    """aiosmtplib's client, which remembers whether the message is out without an answer to it"""

    def __init__(self, data_seconds: float, **options: Any) -> None:
        super().__init__(**options)
        self._data_seconds = data_seconds
        self.in_doubt = False

    async def data(self, message: str | bytes, /, *, timeout: Any = None) -> SMTPResponse:
        if not self.is_connected:
            raise aiosmtplib.SMTPServerDisconnected("the server closed the connection before the message")
        self.in_doubt = True
        try:
            response = await super().data(message, timeout=self._data_seconds)
        except SMTPResponseException as error:
            self.in_doubt = not 400 <= error.code < 600  # anything else is no answer to a message
            raise
        self.in_doubt = False
        return response

    def close(self) -> None:
        """At once: a polite end of TLS waits for the server's, for up to half a minute and after the end of
        the loop."""
        transport = self.transport
        super().close()
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()


class SmtpMailer:
    """The Mailer that speaks SMTP."""

    def __init__(self, server: Server, data_seconds: float = DATA_SECONDS) -> None:
        """Raises SettingsError where the CA file cannot be used."""
        self._server = server
        self._data_seconds = data_seconds
        self._tls = _tls_context(server.ca_file)
        self._open: _Conversation | None = None
        self._turn = asyncio.Lock()
        if server.username and server.security == "none":
            logger.warning("WINDSOCK_SMTP_SECURITY is none: the mail password goes out unencrypted")

    async def open(self) -> None:
        """Connect and log in, unless the server still answers. Raises Unavailable."""
        async with self._turn:
            await self._guarded(self._connection())

    async def send(self, message: EmailMessage, recipients: Sequence[str]) -> Receipt:
        """Hand a mail over. Raises SendError, its text the server's words and never a password."""
        async with self._turn:
            return await self._guarded(self._send(message, recipients))

    async def close(self) -> None:
        async with self._turn:
            if self._open is not None and self._open.is_connected:
                with contextlib.suppress(SMTPException, OSError):
                    await self._open.quit(timeout=QUIT_SECONDS)
            self._cut()

    async def _guarded(self, conversation: Coroutine[Any, Any, T]) -> T:
        try:
            return await conversation
        except BaseException as error:
            # Whatever went wrong, the next mail starts on a connection whose state is known.
            self._cut()
            if isinstance(error, SendError):
                raise type(error)(self._clean(str(error))) from None
            raise

    async def _send(self, message: EmailMessage, recipients: Sequence[str]) -> Receipt:
        smtp = self._open if self._open and self._open.is_connected else await self._connection()
        smtp.in_doubt = False
        try:
            refused, answer = await smtp.send_message(
                message, sender=self._server.sender, recipients=list(recipients)
            )
        except (SMTPException, OSError, ValueError) as error:
            raise _meaning(error, smtp.in_doubt) from None
        errors = {who: error_of(reply.code, self._clean(reply.message)) for who, reply in refused.items()}
        accepted = tuple(who for who in recipients if who not in errors)
        return Receipt(self._clean(f"250 {answer}"), accepted, errors)

    async def _connection(self) -> _Conversation:
        """The connection that is open, if the server still answers on it, or a new one."""
        if self._open is not None:
            with contextlib.suppress(SMTPException, OSError):
                await self._open.noop()
                return self._open
            self._cut()
        smtp = self._new()
        try:
            await smtp.connect()
        except (SMTPException, OSError, ValueError) as error:
            raise Unavailable(self._why_not(error)) from None
        self._open = smtp
        return smtp

    def _new(self) -> _Conversation:
        server = self._server
        return _Conversation(
            self._data_seconds,
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password if server.username else None,
            use_tls=server.security == "tls",
            start_tls=server.security == "starttls",
            tls_context=self._tls,
            timeout=server.timeout,
        )

    def _why_not(self, error: Exception) -> str:
        where = f"{self._server.host}:{self._server.port}"
        if isinstance(error, aiosmtplib.SMTPAuthenticationError):
            return (
                f"{where} refused the login: {plain(f'{error.code} {error.message}')} "
                "(check WINDSOCK_SMTP_USERNAME and WINDSOCK_SMTP_PASSWORD; Gmail needs an app password)"
            )
        hint = ""
        if "certificate verify failed" in str(error):
            hint = " (a mail server with a CA of its own: set WINDSOCK_SMTP_CA_FILE)"
        said = f"{error.code} {error.message}" if isinstance(error, SMTPResponseException) else str(error)
        return f"{where}: {plain(said)}{hint}"

    def _cut(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _clean(self, text: str) -> str:
        return plain(without_secrets(text, self._server.username or "", self._server.password))


def _meaning(error: Exception, in_doubt: bool) -> SendError:
    if in_doubt:
        return Uncertain(f"the connection ended before the server answered the message: {plain(str(error))}")
    if isinstance(error, SMTPRecipientsRefused):
        return of_recipients(error)
    if isinstance(error, SMTPResponseException):
        return of_response(error)
    if isinstance(error, (ValueError, aiosmtplib.SMTPNotSupported)):
        return Refused(f"not a mail that this server can be given: {plain(str(error))}")
    return TryLater(plain(str(error)) or type(error).__name__)


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:  # ssl.SSLError is one of them
            raise SettingsError(f"WINDSOCK_SMTP_CA_FILE: {ca_file} cannot be read as a CA: {error}") from None
    return context
