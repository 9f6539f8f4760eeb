"""A real SMTP server for tests: STARTTLS with a certificate of its own and a login."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from enum import Enum
from pathlib import Path
from typing import Any, Literal
from weakref import WeakSet

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import MISSING, SMTP, AuthResult, Envelope, LoginPassword, Session

from tests import wait
from tests.ports import free_port

USERNAME = "windsock@example.com"
PASSWORD = "an app password"
LEAVING = "421"  # the server says so and closes the connection (RFC 5321 section 3.8)

Step = Literal["AUTH", "RCPT", "DATA"]


class Drop(Enum):
    """The connection is cut instead of an answer."""

    BEFORE = "before the message is taken"
    AFTER = "after the message is taken, before the 250"


Script = Callable[[Step, str], "str | Drop | None"]
"""What the server answers at a step, given whom it is about (RCPT); None: as it would."""


@dataclass
class Received:
    """One mail that the server answered with 250."""

    sender: str
    recipients: list[str]
    encrypted: bool
    login: str | None
    content: bytes

    @property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.content, policy=policy.default)


@dataclass
class SmtpServer:
    """start() … mails … stop(), and again. `ca_file` is what a client must trust.

    `reply` scripts the answer to DATA by the mail; `script` any answer by the step.
    """

    folder: Path
    mails: list[Received] = field(default_factory=list)
    reply: Callable[[Received], str] = lambda _mail: "250 OK"
    script: Script = lambda _step, _about: None

    def __post_init__(self) -> None:
        self.port = free_port()  # the controller cannot tell which one it was given
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        self.ca_file = self.folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(self._tls)
        self._controller: _Controller | None = None

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: Any
    ) -> AuthResult:
        good = isinstance(given, LoginPassword) and (given.login, given.password) == (
            USERNAME.encode(),
            PASSWORD.encode(),
        )
        return AuthResult(success=good, handled=False, auth_data=given)

    async def handle_AUTH(  # noqa: N802 (aiosmtpd names its hooks so)
        self, server: SMTP, _session: Session, _envelope: Envelope, _arguments: list[str]
    ) -> Any:
        return _said(server, self.script("AUTH", "")) or MISSING

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        refusal = _said(server, self.script("RCPT", address))
        if refusal is None:
            envelope.rcpt_tos.append(address)
        return refusal or "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        login: Any = session.auth_data
        mail = Received(
            envelope.mail_from or "",
            list(envelope.rcpt_tos),
            session.ssl is not None,
            login.login.decode() if login else None,
            envelope.original_content or b"",
        )
        scripted = self.script("DATA", "")
        answer = self.reply(mail) if scripted in (None, Drop.AFTER) else ""
        if answer.startswith("250"):
            self.mails.append(mail)
        return _said(server, scripted) or answer

    def start(self) -> "SmtpServer":
        self._controller = _Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            tls_context=self._tls,
            require_starttls=True,
            auth_required=True,
            authenticator=self._authenticate,
            enable_SMTPUTF8=True,
        )
        self._controller.start()
        return self

    def stop(self) -> None:
        """Safe to call when it does not run."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def drop_connections(self) -> None:
        """Cut every connection that is open, wherever its conversation stands."""
        if self._controller is not None:
            self._controller.cut_all()

    def kill(self) -> None:
        """What its clients see when the server is killed: every connection is cut, and nobody listens."""
        self.drop_connections()
        self.stop()

    def monitor_env(self) -> dict[str, str]:
        """What a monitor needs to send through this server."""
        return {
            "WINDSOCK_SMTP_HOST": "127.0.0.1",
            "WINDSOCK_SMTP_PORT": str(self.port),
            "WINDSOCK_SMTP_SECURITY": "starttls",
            "WINDSOCK_SMTP_USERNAME": USERNAME,
            "WINDSOCK_SMTP_PASSWORD": PASSWORD,
            "WINDSOCK_SMTP_CA_FILE": str(self.ca_file),
        }


class _Controller(Controller):
    """aiosmtpd's controller, which knows its open connections."""

    def __init__(self, handler: SmtpServer, **options: Any) -> None:
        super().__init__(handler, **options)
        self._conversations: WeakSet[SMTP] = WeakSet()

    def factory(self) -> SMTP:
        conversation: SMTP = super().factory()  # type: ignore[no-untyped-call]
        self._conversations.add(conversation)
        return conversation

    def cut_all(self) -> None:
        async def cut() -> None:
            for conversation in list(self._conversations):
                _cut(conversation)

        asyncio.run_coroutine_threadsafe(cut(), self.loop).result(wait.DEADLINE)


def _said(server: SMTP, scripted: "str | Drop | None") -> str | None:
    """The reply to push; the connection is cut where the script says so, or where the reply is a farewell."""
    if isinstance(scripted, Drop):
        _cut(server)
        return LEAVING  # nobody is there to read it
    if scripted and scripted.startswith(LEAVING) and server.transport:
        asyncio.get_running_loop().call_soon(server.transport.close)  # after the reply has been written
    return scripted


def _cut(server: SMTP) -> None:
    if isinstance(server.transport, asyncio.Transport):
        server.transport.abort()
