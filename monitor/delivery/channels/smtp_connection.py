"""The connection to one SMTP server.

`SmtpConnection` is aiosmtplib's client, which also knows how far a message came. Its `data` is aiosmtplib's
method in two steps, which is odd on purpose. Before the message is on its way no server can have it, so any
earlier failure can be tried again. From then on only the server's answer shows whether the message was taken.
"""

import asyncio
import re
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal

import aiosmtplib
from aiosmtplib import (
    SMTPDataError,
    SMTPNotSupported,
    SMTPResponse,
    SMTPResponseException,
    SMTPSenderRefused,
)
from aiosmtplib.protocol import normalize_message_line_endings
from aiosmtplib.typing import Default

from monitor.delivery.channels.oauth import Grant, Tokens
from monitor.errors import SettingsError
from monitor.mail_addresses import ascii_address, greeting
from monitor.settings import Settings


@dataclass(frozen=True)
class SmtpServer:
    """A mail server and an account on it. `grant` gives tokens if no password is set."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    sender: str
    """An address, without a name."""
    username: str | None = None
    password: str = field(default="", repr=False)
    timeout: float = 20.0
    ca_file: Path | None = None
    grant: Grant | None = None
    connections: int = 2
    helo: str | None = None
    """The name in EHLO. None stands for a name or address of this machine."""

    @classmethod
    def from_settings(cls, settings: Settings) -> "SmtpServer":
        """Return the server. Raise SettingsError if none is set."""
        if not settings.smtp_host:
            raise SettingsError("WINDSOCK_SMTP_HOST: no mail server is set")
        return cls(
            host=settings.smtp_host,
            port=settings.smtp_port,
            security=settings.smtp_security,
            sender=settings.sender_address,
            username=settings.smtp_username,
            password=settings.smtp_password.get_secret_value() if settings.smtp_password else "",
            timeout=settings.smtp_timeout,
            ca_file=settings.smtp_ca_file,
            grant=Grant.from_settings(settings),
            connections=settings.smtp_connections,
            helo=settings.smtp_helo,
        )

    def tls_context(self) -> ssl.SSLContext:
        """Return a context for TLS. Raise SettingsError if the CA file cannot be used."""
        context = ssl.create_default_context()
        if self.ca_file is not None:
            try:
                context.load_verify_locations(cafile=self.ca_file)
            except OSError as error:  # ssl.SSLError is one of them
                raise SettingsError(
                    f"WINDSOCK_SMTP_CA_FILE: {self.ca_file} cannot be read as a CA: {error}"
                ) from None
        return context


GO_ON, TAKEN, LOGGED_IN = 354, 250, 235
UNKNOWN_OPTION = frozenset({500, 501, 504, 555})  # RFC 5321 4.1.1.11: of MAIL, "parameters not recognized"
UNKNOWN_METHOD = frozenset({500, 502, 504})  # RFC 4954 section 4: of AUTH
OPTIONS = ("8bitmime", "size")
"""Extensions that a mail can do without."""
_LEADING_DOT = re.compile(rb"^\.", re.MULTILINE)  # is doubled: RFC 5321 section 4.5.2


class SmtpConnection(aiosmtplib.SMTP):
    """A connection. `in_doubt` is True while the message is out and not answered."""

    def __init__(
        self, server: SmtpServer, tls: ssl.SSLContext, tokens: Tokens | None, data_seconds: float
    ) -> None:
        has_password = server.username and tokens is None
        super().__init__(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password if has_password else None,
            oauth_token_generator=tokens.token if tokens else None,
            use_tls=server.security == "tls",
            start_tls=server.security == "starttls",
            tls_context=tls,
            timeout=server.timeout,
            local_hostname=server.helo,
        )
        self._helo = server.helo
        self.greeting = ""
        """The name in the last EHLO."""
        self._data_seconds = data_seconds
        self._is_open_to_all = server.security == "none"
        self.in_doubt = False
        self.mails = 0
        """That it has been given."""
        self.used_at = 0.0
        """The last sign of life, by the loop's clock."""

    async def open(self) -> None:
        """Connect, encrypt, log in, and greet in any case: a refusal of the greeting is no mail's fault."""
        await self.connect()
        await self._ehlo_or_helo_if_needed()

    async def ehlo(self, *, hostname: str | None = None, timeout: Any = Default.token) -> SMTPResponse:
        """Greet the server by a name that it accepts."""
        return await super().ehlo(hostname=hostname or self._greeting(), timeout=timeout)

    async def helo(self, *, hostname: str | None = None, timeout: Any = Default.token) -> SMTPResponse:
        """Greet an old server by a name that it accepts."""
        return await super().helo(hostname=hostname or self._greeting(), timeout=timeout)

    def _greeting(self) -> str:
        own = self.get_transport_info("sockname")
        self.greeting = self._helo or greeting(self.local_hostname or "", own[0])
        return self.greeting

    async def ask(self, sender: str, recipient: str) -> None:
        """Name the sender and a recipient, and take both back. Raises what aiosmtplib raises."""
        recipient = ascii_address(recipient)
        is_ascii = f"{sender}{recipient}".isascii()
        if not is_ascii and not self.supports_extension("smtputf8"):
            raise SMTPNotSupported(f"{recipient} needs SMTPUTF8")
        encoding = "ascii" if is_ascii else "utf-8"
        await self.mail(sender, options=[] if is_ascii else ["SMTPUTF8"], encoding=encoding)
        await self.rcpt(recipient, encoding=encoding)
        await self.rset()

    async def send_mail(
        self, message: EmailMessage, sender: str, recipients: list[str]
    ) -> tuple[dict[str, SMTPResponse], str]:
        """Send a mail. Return the refused recipients and the server's words. Raise what aiosmtplib raises."""
        addresses = {ascii_address(who): who for who in recipients}
        self.in_doubt = False
        self.mails += 1
        try:
            refused, answer = await self.send_message(message, sender=sender, recipients=[*addresses])
        except SMTPSenderRefused as error:
            claimed = [name for name in OPTIONS if self.supports_extension(name)]
            if error.code not in UNKNOWN_OPTION or not claimed or not self.is_connected:
                raise
            # The server claims extensions that it lacks: the same mail in 7 bits, without any.
            for name in claimed:
                del self.esmtp_extensions[name]
            refused, answer = await self.send_message(message, sender=sender, recipients=[*addresses])
        return {addresses[who]: reply for who, reply in refused.items()}, answer

    async def data(self, message: str | bytes, /, *, timeout: Any = None) -> SMTPResponse:
        """Send the message. From its first byte to the reply it is in doubt."""
        content = normalize_message_line_endings(message.encode() if isinstance(message, str) else message)
        reply = await self.execute_command(b"DATA")
        if reply.code != GO_ON:
            raise SMTPDataError(reply.code, reply.message)
        if self.protocol is None:
            raise aiosmtplib.SMTPServerDisconnected("the server closed the connection before the message")
        self.in_doubt = True
        try:
            self.protocol.write(_LEADING_DOT.sub(b"..", content) + b".\r\n")
            answer = await self.protocol.read_response(timeout=self._data_seconds)
        except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError):
            self.close()
            raise
        self.in_doubt = answer.code != TAKEN and not 400 <= answer.code < 600  # no answer to a message
        if answer.code != TAKEN:
            raise SMTPDataError(answer.code, answer.message)
        return answer

    async def login(self, username: Any, password: Any, /, timeout: Any = None) -> SMTPResponse:
        """Log in, in one attempt unless the server lacks the method after all: servers count attempts."""
        await self._ehlo_or_helo_if_needed()
        methods = ["plain", "login", "cram-md5"]
        if self._is_open_to_all:
            methods.reverse()
        by_name = {"plain": self.auth_plain, "login": self.auth_login, "cram-md5": self.auth_crammd5}
        offered = [name for name in methods if name in self.server_auth_methods]
        for name in offered:
            try:
                return await by_name[name](username, password)
            except aiosmtplib.SMTPAuthenticationError as error:
                if error.code not in UNKNOWN_METHOD or name == offered[-1]:
                    raise
        raise aiosmtplib.SMTPException(
            "the server offers no login that is known here (it offers: "
            f"{', '.join(self.server_auth_methods) or 'none'})"
        )

    def is_clean_after(self, error: BaseException) -> bool:
        """Return True if the server has refused and waits for the next command."""
        return (
            self.is_connected
            and not self.in_doubt
            and (isinstance(error, aiosmtplib.SMTPRecipientsRefused) or _is_a_no(error))
        )

    def close(self) -> None:
        """Close at once. A polite end of TLS waits for the server, up to half a minute."""
        transport = self.transport
        super().close()
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()


def _is_a_no(error: BaseException) -> bool:
    return isinstance(error, SMTPResponseException) and 400 <= error.code < 600
