"""Where mail goes, and as whom."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from monitor.errors import SettingsError
from monitor.mailer.oauth import Grant
from monitor.settings import Settings


@dataclass(frozen=True)
class Server:
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
    def of(cls, settings: Settings) -> "Server":
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
            grant=Grant.of(settings),
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
