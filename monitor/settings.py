"""The settings, resolved once at the edge.

Only the command line's entry builds them from the environment."""

import ipaddress
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from monitor.events.event import DEPLOYMENT
from monitor.mail_addresses import SenderAddress, check_address, is_address, is_greeting
from monitor.secret_files import (
    key_at,
)
from monitor.settings_values import (
    SESSION_SECRET_SIGNS,
    WORDS,
    AirflowSettings,
    _parse_base_url,
    _validate_secrets,
    is_loopback,
    link_key,
    split_words,
)

HOST_NAME = 40  # of its characters, the last: PostgreSQL keeps 63 of a client's name
DATABASES = ("sqlite", "postgresql", "postgresql+psycopg", "postgres")  # what an address begins with
SESSION_WARNING = (
    "no WINDSOCK_SESSION_SECRET is set: each monitor on this database makes its own, so who signs in at one "
    "is a stranger to the others, and a restart signs everybody out"
)


class Settings(BaseSettings):
    """The settings: `WINDSOCK_<NAME>` in the environment or in `.env`.
    The environment wins. Each secret may come from a file that `WINDSOCK_<NAME>_FILE` names (secret_files).
    """

    model_config = SettingsConfigDict(
        env_prefix="WINDSOCK_", extra="ignore", frozen=True, populate_by_name=True
    )

    home: Path = Path(".windsock")
    """The folder of SQLite, the embedded mailbox and the rules file."""
    config: Path | None = None
    """The rules file (docs/rules.md). Default: windsock.yaml in the home folder, where there is one."""
    host: str = "127.0.0.1"
    """The address to listen on. Any other than the loopback address needs WINDSOCK_AUTH=airflow."""
    port: int = Field(8090, ge=0, le=65535)
    """0: any free one."""
    public_url: str | None = None
    """The address at which people reach the monitor, for links in mail. Default: http://host:port, with the
    port that it got."""
    database_url: str = ""
    """SQLAlchemy's address, such as postgresql+psycopg://user:password@host/name. Default: SQLite in the home
    folder."""
    database_pool_size: int = Field(8, ge=4, le=100)
    """The number of PostgreSQL connections: some for the monitor's own work and the rest for users' requests
    and feeds (docs/postgresql.md). Two more connections listen and elect the leader."""
    database_statement_timeout: float = Field(30, gt=0)
    """Seconds after which PostgreSQL ends a statement, and SQLite what a page or a request reads."""
    deployment: str = Field("local", pattern=rf"^{DEPLOYMENT}$")
    """The first Airflow's name in events: what its plugin has as DEPLOYMENT."""
    ingest_secret: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """The `whsec_` secrets with which the first Airflow's reports are signed. There are several while one is
    being replaced. They report for its deployment alone."""
    auth: Literal["airflow", "none"] = "airflow"
    """airflow: people sign in with their Airflow name and password and see the DAGs that Airflow shows them
    (docs/sign-in.md). none: everybody on this machine sees everything."""
    session_secret: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """The secrets that sign session cookies and the links in mails, and seal sessions. There are several
    while one is being replaced: the first one signs, any verifies. All monitors on one database have the
    same. If unset, cookies are signed by a new secret at each start, which signs everybody out, and links by
    one that is kept in the home (link.key)."""
    trusted_proxies: WORDS = ()
    """Addresses and networks (CIDR) of reverse proxies: from them alone is X-Forwarded-For taken as true
    (docs/proxy.md)."""
    retention_days: float = Field(30, gt=0)
    """The days for which the log keeps events, which is as far back as feeds can resume."""
    ledger_retention_days: float = Field(90, gt=0)
    """The days for which the rest is kept: runs and their tasks, incidents that are over, decisions,
    deliveries, the journal of what was sent. A value below retention_days counts as retention_days."""
    log_format: Literal["text", "json"] = "text"
    """The format of log lines, on stderr: text for people, or one JSON object a line."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is logged. `debug` is for the monitor's own lines only."""
    traces: Literal["off", "otlp"] = "off"
    """With `otlp`, spans go to an OpenTelemetry collector. The standard OTEL_EXPORTER_OTLP_… variables name
    it."""

    airflow_url: str | None = None
    """Airflow's address, without /api/v2. Unset: nothing is confirmed, enriched or reconciled."""
    airflow_public_url: str | None = None
    """The address at which people reach Airflow, for links in mail. Default: airflow_url."""
    airflow_username: str | None = None
    """An Airflow user that may read DAGs. The role Viewer is enough."""
    airflow_password: SecretStr | None = None
    """That user's password."""
    airflow_timeout: float = Field(10, gt=0)
    """Seconds for one answer of Airflow."""
    airflows: Annotated[
        dict[Annotated[str, StringConstraints(pattern=rf"^{DEPLOYMENT}$")], AirflowSettings], NoDecode
    ] = {}
    """Further Airflows by their deployments' names, as JSON: {"emea": {"url": "…", "username": "…",
    "password": "…", "public_url": "…", "ingest_secret": "whsec_…"}}. People see the DAGs of each Airflow that
    knows the name and password they sign in with."""
    reconcile_interval: float = Field(15, gt=0)
    """Seconds between two comparisons of Airflow with the log."""
    first_look_back_hours: float = Field(24, ge=0)
    """The hours that the first comparison with an Airflow looks back. Its finds are logged without a
    notification."""
    notify_max_age_hours: float = Field(24, gt=0)
    """The hours after which an event that becomes known late causes no notification. The log and the feed
    have it all the same."""
    confirm_grace: float = Field(300, ge=0)
    """The seconds that a mail waits for Airflow to confirm its event. After that it is sent, marked
    unconfirmed."""

    smtp_host: str | None = None
    """Unset: mail goes to the embedded mailbox."""
    smtp_port: int = Field(587, ge=1, le=65535)
    """587 for starttls, 465 for tls, as a rule."""
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    """starttls: encrypted after a greeting. tls: from the first byte. none: not at all."""
    smtp_username: str | None = None
    """The login at the mail server."""
    smtp_password: SecretStr | None = None
    """The password of the account. Gmail wants an app password."""
    smtp_timeout: float = Field(20, gt=0)
    """Seconds for one answer of the mail server."""
    smtp_connections: int = Field(2, ge=1, le=10)
    """Kept open at once. Few: Gmail counts connections and logins against an account."""
    smtp_oauth2_token_file: Path | None = None
    """Instead of a password: a file that holds an access token, read anew at each login (XOAUTH2)."""
    smtp_oauth2_refresh_token: SecretStr | None = None
    """The token with which access tokens are fetched, instead of a password. It needs a client too."""
    smtp_oauth2_client_id: str | None = None
    """The client that a refresh token belongs to."""
    smtp_oauth2_client_secret: SecretStr | None = None
    """That client's secret."""
    smtp_oauth2_token_url: str = "https://oauth2.googleapis.com/token"  # noqa: S105 (an address, no password)
    """The address at which a refresh token is exchanged for an access token."""
    smtp_helo: str | None = None
    """The name by which the monitor greets the mail server (EHLO): a host name, or an address such as
    [192.0.2.1]. Default: the machine's full name, or the connection's own address where it has none."""
    smtp_ca_file: Path | None = None
    """A CA certificate to trust besides the system's, for a private mail server."""
    mail_from: str | None = None
    """The sender: an address, or a name and an address, such as "Data, Platform" <windsock@example.com>.
    A name with {state} in it, such as "{state} · Data Platform", shows the state of a mail's problem.
    Any other name is fixed. An address alone is sent as "{state} · Windsock".
    Default: smtp_username where it is an address, else windsock@localhost."""
    notification_email_to: WORDS = Field(
        (), validation_alias=AliasChoices("NOTIFICATION_EMAIL_TO", "WINDSOCK_NOTIFICATION_EMAIL_TO")
    )
    """The addresses that are mailed, separated by commas, semicolons or spaces."""
    notify_success: WORDS = ("Airflow_Lab2",)
    """Globs of the DAGs whose every success is mailed."""
    templates: Path | None = None
    """A folder of your own mail templates. A file in it replaces the built-in one of the same name."""
    mailbox_smtp_port: int | None = Field(None, ge=0, le=65535)
    """The port of an SMTP server on the loopback address that files its mails in the embedded mailbox.
    Unset: no such server."""

    @field_validator(
        "notify_success",
        "ingest_secret",
        "session_secret",
        "trusted_proxies",
        mode="before",
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        return split_words(value)

    @field_validator("notification_email_to", mode="before")
    @classmethod
    def _split_addresses(cls, value: Any) -> Any:
        """Split addresses at semicolons as well, as Airflow does."""
        return cls._split(value.replace(";", " ")) if isinstance(value, str) else value

    @field_validator("log_format", "log_level", "traces", mode="before")
    @classmethod
    def _lowercase(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("airflows", mode="before")
    @classmethod
    def _from_json(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            example = '{"emea": {"url": "http://…", "username": "…", "password": "…"}}'
            raise ValueError(f"is not JSON ({error}); write {example}") from None

    @field_validator("airflow_url", "airflow_public_url", "public_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        return _parse_base_url(value)

    @field_validator("database_url")
    @classmethod
    def _is_database(cls, value: str) -> str:
        if value and value.partition("://")[0] not in DATABASES:
            raise ValueError(
                "is no address such as postgresql://user:password@host/database; leave it out for SQLite"
            )
        return value

    @field_validator("ingest_secret")
    @classmethod
    def _is_secret(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        return _validate_secrets(value)

    @field_validator("session_secret")
    @classmethod
    def _is_long(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in value:
            if len(secret.get_secret_value()) < SESSION_SECRET_SIGNS:
                raise ValueError(
                    f"a secret has fewer than {SESSION_SECRET_SIGNS} signs (commas and white space separate "
                    "several); write one of `openssl rand -hex 32`"
                )
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _is_network(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for address in value:
            try:
                ipaddress.ip_network(address)
            except ValueError as error:
                raise ValueError(
                    f"{error}; write addresses or networks such as 127.0.0.1, 10.0.0.0/8"
                ) from None
        return value

    @field_validator("mail_from")
    @classmethod
    def _is_sender(cls, value: str | None) -> str | None:
        if value is not None:
            SenderAddress.parse(value)
        return value

    @field_validator("smtp_helo")
    @classmethod
    def _is_greeting(cls, value: str | None) -> str | None:
        if value is not None and not is_greeting(value):
            raise ValueError(
                "is neither a host name such as windsock.example.com nor an address such as [192.0.2.1] or "
                "[IPv6:2001:db8::1]"
            )
        return value

    @field_validator("notification_email_to")
    @classmethod
    def _is_address(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_address(address) for address in value)

    @model_validator(mode="after")
    def _fit_together(self) -> "Settings":
        if misfits := list(self.misfits()):
            raise ValueError("\n".join(misfits))
        return self

    def misfits(self) -> Iterator[str]:
        """Yield what is wrong with settings that are right each for itself."""
        yield from self._ingest_misfits()
        if self.airflow_url and not (self.airflow_username and self.airflow_password):
            yield "airflow_url: needs airflow_username and airflow_password too (a user that may read DAGs)"
        if self.deployment in self.airflows:
            name = repr(self.deployment)
            yield f"airflows: {name} is the first Airflow's own name (deployment); give it another"
        if self.airflows and not self.airflow_url:
            yield "airflows: names further Airflows; set airflow_url to the first"
        if self.auth == "none" and not is_loopback(self.host):
            yield (
                f"host: {self.host!r} is reachable from other machines and auth is 'none'. "
                "Bind to 127.0.0.1, or set auth to 'airflow'"
            )
        if self.auth == "airflow" and not self.airflow_url:
            yield "auth: 'airflow' signs people in through Airflow, so airflow_url is needed"
        yield from self._login_misfits()

    def _ingest_misfits(self) -> Iterator[str]:
        owners: dict[str, str] = {}
        for name, secrets in self.ingest_secrets.items():
            for secret in secrets:
                owner = owners.setdefault(secret.get_secret_value(), name)
                if owner != name:
                    yield (
                        f"airflows: {owner!r} and {name!r} have the same ingest_secret, so each could report "
                        "for the other; make one for each (windsock secret)"
                    )

    def _login_misfits(self) -> Iterator[str]:
        ways = (self.smtp_password, self.smtp_oauth2_token_file, self.smtp_oauth2_refresh_token)
        count = sum(way is not None for way in ways)
        if count > 1:
            yield "smtp_password, smtp_oauth2_token_file and smtp_oauth2_refresh_token: set one of them"
        if bool(self.smtp_username) != bool(count):
            yield (
                "smtp_username and smtp_password (or smtp_oauth2_token_file, or smtp_oauth2_refresh_token): "
                "set both, or neither"
            )
        client = self.smtp_oauth2_client_id and self.smtp_oauth2_client_secret
        if self.smtp_oauth2_refresh_token and not client:
            yield "smtp_oauth2_refresh_token: needs smtp_oauth2_client_id and smtp_oauth2_client_secret too"

    @property
    def every_airflow(self) -> "dict[str, AirflowSettings]":
        """The Airflows by their deployments' names, the first one first."""
        if not (self.airflow_url and self.airflow_username and self.airflow_password):
            return {}
        first = AirflowSettings(
            url=self.airflow_url,
            public_url=self.airflow_public_url,
            username=self.airflow_username,
            password=self.airflow_password,
        )
        return {self.deployment: first, **self.airflows}

    @property
    def ingest_secrets(self) -> dict[str, tuple[SecretStr, ...]]:
        """The secrets that reports are signed with, by the deployment that they report for."""
        further = {name: airflow.ingest_secret for name, airflow in self.airflows.items()}
        return {self.deployment: self.ingest_secret, **further}

    @property
    def airflow_pages(self) -> dict[str, str]:
        """The addresses at which people reach each Airflow, for links."""
        return {name: airflow.public_url or airflow.url for name, airflow in self.every_airflow.items()}

    @property
    def rules_file(self) -> Path:
        """The path of the rules file."""
        return self.config or self.home / "windsock.yaml"

    @property
    def database(self) -> str:
        """The address of the database."""
        return self.database_url or f"sqlite:///{(self.home / 'windsock.db').absolute()}"

    @property
    def replica(self) -> str:
        """The name of this monitor among those on the same PostgreSQL."""
        return f"{socket.gethostname()[-HOST_NAME:]}:{self.port}"

    @property
    def ledger_days(self) -> float:
        """The ledger's days, never fewer than the log's.
        What the log reports has to be known for as long, or it could be reported again."""
        return max(self.ledger_retention_days, self.retention_days)

    @property
    def journal(self) -> Path:
        """The folder of the journal of what was sent, which a restore reads."""
        return self.home / "journal"

    @property
    def shares_database(self) -> bool:
        """True if other monitors may be on the same database."""
        return not self.database.startswith("sqlite")

    @property
    def url(self) -> str:
        """The monitor's address for links."""
        host = f"[{self.host}]" if ":" in self.host else self.host  # an IPv6 address (RFC 3986 section 3.2.2)
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def link_keys(self) -> tuple[str, ...]:
        """The keys of the links in mails.

        The first key signs, and any key verifies. They are the same after a restart, and in every replica
        with the same session_secret. Without that setting a key is made at the first use. It stays valid
        when a session_secret is set later. Raises SettingsError."""
        path = self.home / "link.key"
        own = (key_at(path),) if not self.session_secret or path.exists() else ()
        return (*(link_key(secret.get_secret_value()) for secret in self.session_secret), *own)

    @property
    def sender(self) -> str:
        """The sender of the mails."""
        if self.mail_from:
            return self.mail_from
        account = self.smtp_username or ""
        return account if is_address(account) else "windsock@localhost"

    @property
    def sender_address(self) -> str:
        """The sender without the display name, for the mail server."""
        return SenderAddress.parse(self.sender).envelope

    @property
    def mail_host(self) -> str:
        """The right side of Message-IDs: the sender's domain."""
        return SenderAddress.parse(self.sender).domain
