"""A real SMTP server for tests: aiosmtpd with STARTTLS, a certificate of its own and a login."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.ports import free_port

USERNAME = "windsock@example.com"
PASSWORD = "an app password"


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
    """start() … mails … stop(). `ca_file` is what a client must trust; `reply` scripts the answer to DATA."""

    folder: Path
    mails: list[Received] = field(default_factory=list)
    reply: Callable[[Received], str] = lambda _mail: "250 OK"

    def __post_init__(self) -> None:
        self.port = free_port()  # the controller cannot tell which one it was given
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        self.ca_file = self.folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(context)
        self._controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            authenticator=self._authenticate,
            enable_SMTPUTF8=True,
        )

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: Any
    ) -> AuthResult:
        good = isinstance(given, LoginPassword) and (given.login, given.password) == (
            USERNAME.encode(),
            PASSWORD.encode(),
        )
        return AuthResult(success=good, handled=False, auth_data=given)

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        login: Any = session.auth_data
        mail = Received(
            envelope.mail_from or "",
            list(envelope.rcpt_tos),
            session.ssl is not None,
            login.login.decode() if login else None,
            envelope.original_content or b"",
        )
        answer = self.reply(mail)
        if answer.startswith("250"):
            self.mails.append(mail)
        return answer

    def start(self) -> "SmtpServer":
        self._controller.start()
        return self

    def stop(self) -> None:
        self._controller.stop()

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
