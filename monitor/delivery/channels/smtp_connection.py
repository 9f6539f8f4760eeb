"""The connection to one SMTP server, and the form in which messages are sent.

`SmtpConnection` is aiosmtplib's client, which also knows how far a message came. Its `data` is aiosmtplib's
method in two steps, which is odd on purpose. Before the message is on its way no server can have it, so any
earlier failure can be tried again. From then on only the server's answer shows whether the message was taken.

`fold_subject` folds subjects of any length and with any characters. Python's own folding makes encoded words
that are longer than RFC 2047 allows (75), and strict servers refuse or garble them.

`flat` serializes a message whose texts need no encoding, in half the time of aiosmtplib's `send_message`.
"""

import asyncio
import copy
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP, Policy
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import aiosmtplib
from aiosmtplib import (
    SMTPDataError,
    SMTPNotSupported,
    SMTPRecipientRefused,
    SMTPRecipientsRefused,
    SMTPResponse,
    SMTPResponseException,
    SMTPSenderRefused,
)
from aiosmtplib.email import parse_address
from aiosmtplib.protocol import normalize_message_line_endings
from aiosmtplib.typing import Default

from monitor.delivery.channels.oauth import Grant, Tokens
from monitor.errors import SettingsError
from monitor.mail_addresses import ascii_address, greeting
from monitor.settings import Settings

END = b"\r\n"
AS_THEY_ARE = ("7bit", "8bit")
HEADERS = 1_000  # lines that come again: a sender's, its recipients', the rules' and those that are always so


def flat(message: EmailMessage) -> bytes | None:
    """None where it is not made of texts that go as they are, as Windsock's mostly are: then the email
    package has to write it. Each line ends with CRLF."""
    parts: Any = message.get_payload()
    boundary = message.get_boundary()
    if not isinstance(parts, list) or boundary is None or not all(map(_goes_as_it_is, parts)):
        return None
    mark = b"--" + boundary.encode()
    bodies = b"".join(mark + END + _part(part) + END for part in parts)
    return b"".join(_headers(message)) + END + bodies + mark + b"--" + END


def _goes_as_it_is(part: Any) -> bool:
    return not part.is_multipart() and part["Content-Transfer-Encoding"] in AS_THEY_ARE


def _part(part: Any) -> bytes:
    text = part.get_payload(decode=True)
    body = normalize_message_line_endings(text) if b"\r" in text else text.replace(b"\n", END)
    return b"".join(_headers(part)) + END + body


def _headers(message: EmailMessage) -> Iterator[bytes]:
    return (_fold(name, value) for name, value in message.raw_items())


@lru_cache(maxsize=HEADERS, typed=True)
def _fold(name: str, value: Any) -> bytes:
    return SMTP.fold_binary(name, value)


SHORT = 40  # bytes of a subject that Python's own folding does well: one encoded word
MAX_WORD = 70  # characters of a word of ASCII that is left as it is; a longer one could not be folded
MAX_LINE = 76  # RFC 2047 section 2: of a line that holds an encoded word


class _Subject(str):
    """The value of a header that folds itself (email.policy calls `fold` of what has a name)."""

    name = "Subject"

    def fold(self, *, policy: Policy) -> str:
        is_plain = self.isascii() and all(len(word) <= MAX_WORD for word in self.split())
        folded = Header(str(self), "us-ascii" if is_plain else "utf-8", MAX_LINE, header_name=self.name)
        return f"{self.name}: {folded.encode(linesep=policy.linesep)}{policy.linesep}"


def fold_subject(message: EmailMessage) -> EmailMessage:
    """The same mail, whose subject is folded in that way."""
    subject: Any = message["Subject"]
    if subject is None or len(subject.encode()) <= SHORT:
        return message
    other = copy.copy(message)
    del other["Subject"]
    other["Subject"] = _Subject(subject)
    return other


@dataclass(frozen=True)
class SmtpServer:
    """A mail server and an account on it. `grant` is asked for a token where no password is set."""

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
    """What EHLO says; None: a name or address of this machine."""

    @classmethod
    def from_settings(cls, settings: Settings) -> "SmtpServer":
        """Raises SettingsError where no server is set."""
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
        """Raises SettingsError where the CA file cannot be used."""
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


class SmtpConnection(aiosmtplib.SMTP):
    """`in_doubt`: the message is out, and there is no answer to it."""

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
        """What EHLO said last."""
        self._data_seconds = data_seconds
        self._is_open_to_all = server.security == "none"
        self.in_doubt = False
        self.mails = 0
        """That it has been given."""
        self.used_at = 0.0
        """When it was last heard of, by the loop's clock."""

    async def open(self) -> None:
        """Connect, encrypt, log in, and greet in any case: a refusal of the greeting is no mail's fault."""
        await self.connect()
        await self._ehlo_or_helo_if_needed()

    async def ehlo(self, *, hostname: str | None = None, timeout: Any = Default.token) -> SMTPResponse:
        return await super().ehlo(hostname=hostname or self._greeting(), timeout=timeout)

    async def helo(self, *, hostname: str | None = None, timeout: Any = Default.token) -> SMTPResponse:
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
        """Give the server a mail; answers who was refused, and its words. Raises what aiosmtplib raises."""
        addresses = {ascii_address(who): who for who in recipients}
        refused, answer = await self._send_with_fallback(message, sender, list(addresses))
        return {addresses[who]: reply for who, reply in refused.items()}, answer

    async def _send_with_fallback(
        self, message: EmailMessage, sender: str, recipients: list[str]
    ) -> tuple[dict[str, SMTPResponse], str]:
        self.in_doubt = False
        self.mails += 1
        message = fold_subject(message)
        try:
            return await self._send_fast(message, sender, recipients)
        except SMTPSenderRefused as error:
            claimed = [name for name in OPTIONS if self.supports_extension(name)]
            if error.code not in UNKNOWN_OPTION or not claimed or not self.is_connected:
                raise
        # It claims extensions that it lacks: the same mail in 7 bits, without any.
        for name in claimed:
            del self.esmtp_extensions[name]
        return await self.send_message(message, sender=sender, recipients=recipients)

    async def _send_fast(
        self, message: EmailMessage, sender: str, recipients: list[str]
    ) -> tuple[dict[str, SMTPResponse], str]:
        """As send_message does it, in half the time where nothing has to be encoded."""
        await self._ehlo_or_helo_if_needed()
        is_plain = self.supports_extension("8bitmime") and "".join((sender, *recipients)).isascii()
        content = flat(message) if is_plain else None
        if content is None:
            return await self.send_message(message, sender=sender, recipients=recipients)
        for address in (sender, *recipients):
            parse_address(address)  # before the server hears of any
        size = [f"size={len(content)}"] if self.supports_extension("size") else []
        await self.mail(sender, options=[*size, "BODY=8BITMIME"])
        refused = [error for who in recipients if (error := await self._try_recipient(who))]
        if len(refused) == len(recipients):
            raise SMTPRecipientsRefused(refused)
        answer = await self._content(content)
        return {error.recipient: SMTPResponse(error.code, error.message) for error in refused}, answer.message

    async def _try_recipient(self, recipient: str) -> SMTPRecipientRefused | None:
        try:
            await self.rcpt(recipient)
        except SMTPRecipientRefused as error:
            return error
        return None

    async def data(self, message: str | bytes, /, *, timeout: Any = None) -> SMTPResponse:
        content = message.encode() if isinstance(message, str) else message
        return await self._content(normalize_message_line_endings(content))

    async def _content(self, content: bytes) -> SMTPResponse:
        """Each of its lines ends with CRLF."""
        reply = await self.execute_command(b"DATA")
        if reply.code != GO_ON:
            raise SMTPDataError(reply.code, reply.message)
        if self.protocol is None:
            raise aiosmtplib.SMTPServerDisconnected("the server closed the connection before the message")
        self.in_doubt = True
        try:
            self.protocol.write(_stuff_dots(content) + b".\r\n")
            answer = await self.protocol.read_response(timeout=self._data_seconds)
        except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError):
            self.close()
            raise
        self.in_doubt = answer.code != TAKEN and not 400 <= answer.code < 600  # no answer to a message
        if answer.code != TAKEN:
            raise SMTPDataError(answer.code, answer.message)
        return answer

    async def login(self, username: Any, password: Any, /, timeout: Any = None) -> SMTPResponse:
        """One attempt, unless the server does not know the method after all: servers count attempts."""
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
        """Whether the server has said no and waits for the next command."""
        return (
            self.is_connected
            and not self.in_doubt
            and (isinstance(error, aiosmtplib.SMTPRecipientsRefused) or _is_a_no(error))
        )

    def close(self) -> None:
        """At once: a polite end of TLS waits for the server's, for up to half a minute and after the end of
        the loop."""
        transport = self.transport
        super().close()
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()


def _stuff_dots(content: bytes) -> bytes:
    """A point that begins a line is doubled (RFC 5321 section 4.5.2)."""
    first = b"." if content.startswith(b".") else b""
    return first + content.replace(b"\n.", b"\n..")


def _is_a_no(error: BaseException) -> bool:
    return isinstance(error, SMTPResponseException) and 400 <= error.code < 600
