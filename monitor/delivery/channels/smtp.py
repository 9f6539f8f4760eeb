"""The mailer that sends through an SMTP server, and the channel `email`.

The default server is Gmail's submission server: smtp.gmail.com, port 587, STARTTLS, an app password.

`SmtpMailer` keeps a few connections between mails, and replaces a connection that is gone. The connections
are few because Gmail counts them against an account. More than one is open, because a server that is slow
with one mail must not hold up the others. A mail has a connection for `MAIL_SECONDS` at most, whatever the
server does or leaves undone.

`MailChannel` sends a rendered notification by any mailer."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Sequence
from email.message import EmailMessage
from typing import Any, TypeVar

import aiosmtplib
from aiosmtplib import SMTPException

from monitor.delivery.channels.base import OutgoingMessage
from monitor.delivery.channels.errors import (
    HOST_REMEDY,
    Mailer,
    SendError,
    SendReceipt,
    SmtpStage,
    TryLater,
    Unavailable,
    Uncertain,
    clean_reply,
    describe_error,
    doubt,
    error_of,
    format_reply,
    meaning,
)
from monitor.delivery.channels.smtp_connection import SmtpConnection, SmtpServer

DATA_SECONDS = 60.0  # servers scan a mail before they answer it (RFC 5321 4.5.3.2.6 grants them far more).
# Giving up earlier makes a mail uncertain that was only slow
MAIL_SECONDS = (
    120.0  # a mail's whole conversation: a server that says a byte a second keeps within each timeout
)
TRUSTED_SECONDS = 5.0  # a connection that was in use so lately is not asked whether it still is one
STALE_SECONDS = 240.0  # routers forget silent connections, servers end them: one as old is not asked either
QUIT_SECONDS = 2.0  # a polite end is tried, not waited for

T = TypeVar("T")

logger = logging.getLogger(__name__)


class SmtpMailer:
    """The mailer for an SMTP server."""

    def __init__(
        self, server: SmtpServer, data_seconds: float = DATA_SECONDS, mail_seconds: float = MAIL_SECONDS
    ) -> None:
        """Raise SettingsError if the CA file cannot be used."""
        self._server = server
        self._data_seconds = data_seconds
        self._mail_seconds = mail_seconds
        self._tls = server.tls_context()
        self._tokens = server.grant.tokens() if server.grant else None
        self._idle: list[SmtpConnection] = []
        self._slots = asyncio.Semaphore(server.connections)
        if server.username and server.security == "none":
            logger.warning("WINDSOCK_SMTP_SECURITY is none: the mail password goes out unencrypted")

    @property
    def at_once(self) -> int:
        """The number of mails that are sent at the same time."""
        return self._server.connections

    async def open(self) -> None:
        """Connect and log in, unless a kept connection still answers. Raises Unavailable."""
        async with self._slots:
            if not self._is_ready():
                self._idle.append(await self._run_bounded(self._acquire(), Unavailable))

    async def send(self, message: EmailMessage, recipients: Sequence[str]) -> SendReceipt:
        """Hand a mail over. Raises SendError, its text the server's words and never a password."""
        async with self._slots:
            return await self._run_bounded(self._send(message, recipients), TryLater)

    async def try_envelope(self, recipient: str) -> None:
        """Ask if the server would take a mail to this recipient, without a mail. Raises SendError."""
        async with self._slots:
            await self._run_bounded(self._probe_envelope(recipient), Unavailable)

    async def _probe_envelope(self, recipient: str) -> None:
        smtp = await self._acquire()
        try:
            await smtp.ask(self._server.sender, recipient)
        except (SMTPException, OSError, ValueError) as error:
            await self._release(smtp, error)
            raise meaning(error, in_doubt=False) from None
        except BaseException:
            smtp.close()
            raise
        await self._release(smtp, None)

    async def close(self) -> None:
        """Close the idle connections. A connection in use ends with its mail."""
        while self._idle:
            smtp = self._idle.pop()
            if smtp.is_connected:
                with contextlib.suppress(SMTPException, OSError):
                    await smtp.quit(timeout=QUIT_SECONDS)
            smtp.close()

    async def _run_bounded(self, conversation: Coroutine[Any, Any, T], late: type[SendError]) -> T:
        try:
            return await asyncio.wait_for(conversation, self._mail_seconds)
        except (TimeoutError, asyncio.TimeoutError):
            raise late(f"{self._where}: not done within {self._mail_seconds:.0f} s") from None
        except SendError as error:
            raise type(error)(self._clean(str(error))) from None

    async def _send(self, message: EmailMessage, recipients: Sequence[str]) -> SendReceipt:
        smtp = await self._acquire()
        is_old = smtp.mails > 0
        try:
            return await self._send_over(smtp, message, recipients)
        except (TryLater, Unavailable):
            # A connection that has served ends at some time, between two mails or with a 421 to the next.
            if not is_old or smtp.is_connected:
                raise
        return await self._send_over(await self._connect(), message, recipients)

    async def _send_over(
        self, smtp: SmtpConnection, message: EmailMessage, recipients: Sequence[str]
    ) -> SendReceipt:
        try:
            refused, answer = await smtp.send_mail(message, self._server.sender, list(recipients))
        except asyncio.CancelledError:
            smtp.close()
            if smtp.in_doubt:  # by the deadline: the caller of _run_bounded must not take it for "not sent"
                raise Uncertain(doubt(f"not done within {self._mail_seconds:.0f} s")) from None
            raise
        except (SMTPException, OSError, ValueError) as error:
            await self._release(smtp, error)
            raise meaning(error, smtp.in_doubt) from None
        except BaseException:
            smtp.close()
            raise
        await self._release(smtp, None)
        errors = {
            who: error_of(reply.code, self._clean(reply.message), SmtpStage.RECIPIENT)
            for who, reply in refused.items()
        }
        accepted = tuple(who for who in recipients if who not in errors)
        return SendReceipt(self._clean(f"250 {answer}"), accepted, errors)

    async def _release(self, smtp: SmtpConnection, error: Exception | None) -> None:
        """Keep a connection whose state is known. After a refusal, RSET makes sure."""
        if error is not None:
            if not smtp.is_clean_after(error):
                smtp.close()
                return
            try:
                await smtp.rset()
            except (SMTPException, OSError):
                smtp.close()
                return
        smtp.used_at = asyncio.get_running_loop().time()
        self._idle.append(smtp)

    def _is_ready(self) -> bool:
        """Return True if the next connection was in use just now, so that it need not be asked."""
        if not self._idle or not self._idle[-1].is_connected:
            return False
        return asyncio.get_running_loop().time() - self._idle[-1].used_at < TRUSTED_SECONDS

    async def _acquire(self) -> SmtpConnection:
        """Return a connection on which the server still answers, or a new one."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            smtp = self._idle.pop()
            silent = now - smtp.used_at
            if smtp.is_connected and silent < TRUSTED_SECONDS:
                return smtp
            if smtp.is_connected and silent < STALE_SECONDS and await _answers(smtp):
                return smtp
            smtp.close()
        return await self._connect()

    async def _connect(self) -> SmtpConnection:
        smtp = SmtpConnection(self._server, self._tls, self._tokens, self._data_seconds)
        try:
            await smtp.open()
        except (SMTPException, OSError, ValueError) as error:
            smtp.close()
            raise Unavailable(self._why_not(smtp, error)) from None
        if not self._server.sender.isascii() and not smtp.supports_extension("smtputf8"):
            smtp.close()
            raise Unavailable(
                f"{self._where} has no SMTPUTF8, and the sender {self._server.sender!r} needs it: "
                "set WINDSOCK_MAIL_FROM to an address in ASCII"
            )
        smtp.used_at = asyncio.get_running_loop().time()
        return smtp

    @property
    def _where(self) -> str:
        return f"{self._server.host}:{self._server.port}"

    def _why_not(self, smtp: SmtpConnection, error: Exception) -> str:
        if isinstance(error, aiosmtplib.SMTPAuthenticationError):
            if self._tokens:
                self._tokens.invalidate()
            reply = format_reply(error.code, error.message)
            return f"{self._where} refused the login: {reply} ({self._login_hint})"
        hint = ""
        if isinstance(error, aiosmtplib.SMTPHeloError):
            hint = f" (it was greeted as {smtp.greeting}: {HOST_REMEDY})"
        if "certificate verify failed" in str(error):
            hint = " (a mail server with a CA of its own: set WINDSOCK_SMTP_CA_FILE)"
        return f"{self._where}: {describe_error(error)}{hint}"

    @property
    def _login_hint(self) -> str:
        if self._tokens:
            return (
                "check WINDSOCK_SMTP_USERNAME and the OAuth 2 token: it may have expired, or lack the scope"
            )
        return "check WINDSOCK_SMTP_USERNAME and WINDSOCK_SMTP_PASSWORD; Gmail needs an app password"

    def _clean(self, text: str) -> str:
        return clean_reply(text, (self._server.password, *(self._tokens.secrets if self._tokens else ())))


async def _answers(smtp: SmtpConnection) -> bool:
    try:
        await smtp.noop()
    except (SMTPException, OSError):
        return False
    except BaseException:
        smtp.close()
        raise
    smtp.used_at = asyncio.get_running_loop().time()
    return True


class MailChannel:
    """The channel `email`, by any mailer."""

    is_one_server = True

    def __init__(self, mailer: Mailer) -> None:
        self._mailer = mailer

    @property
    def at_once(self) -> int:
        """The number of mails that the mailer sends at the same time."""
        return self._mailer.at_once

    async def open(self) -> None:
        """Open the mailer."""
        await self._mailer.open()

    async def send(self, message: OutgoingMessage) -> SendReceipt:
        """Send the mail to its recipient."""
        return await self._mailer.send(message.rendered.message, (message.recipient,))

    async def close(self) -> None:
        """Close the mailer."""
        await self._mailer.close()
