"""The options of `windsock up`, and the settings that follow from them before anything starts."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monitor.cli.up.airflow import airflow_environment, check_repository, clean_base, find_airflow
from monitor.cli.up.home import ADMIN, Home, Secrets, keep_settings, load_secrets
from monitor.cli.up.processes import LOOPBACK, CannotStart, Port, hold
from monitor.settings import Settings
from monitor.settings_loading import load_settings

NOBODY = "you@example.com"  # a reserved domain: a first run mails no one, it fills the embedded mailbox


@dataclass(frozen=True)
class Options:
    """The command line."""

    airflow: Path
    """The virtual environment that holds Airflow."""
    once: bool
    timeout: float
    """Seconds until everything must be through."""
    airflow_port: int
    """The wanted port. 0 means any."""
    environ: Mapping[str, str]
    """The user's environment."""


@dataclass(frozen=True)
class Setup:
    """The decisions before the first process starts."""

    home: Home
    secrets: Secrets
    settings: Settings
    """The monitor's."""
    airflow_version: str
    airflow_command: Path
    airflow_env: dict[str, str]
    monitor_env: dict[str, str]
    ports: dict[str, Port]


def prepare(options: Options, home: Home) -> Setup:
    """Check what is given, make what is missing. Raises CannotStart or SettingsError."""
    check_repository()
    version = find_airflow(options.airflow)
    default_settings = load_settings(home=home.root, auth="none", host=LOOPBACK, airflow_url=None)
    secrets = load_secrets(home)
    ports = {"Airflow": hold(options.airflow_port), "the monitor": hold(default_settings.port)}
    if default_settings.smtp_host is None:
        ports["the mailbox"] = hold(default_settings.mailbox_smtp_port or 0)
    own = _own_settings(home, secrets, ports, default_settings)
    settings = load_settings(**own)
    base = clean_base(options.environ)
    monitor_env = _monitor_environment(base, options.environ, own)
    keep_settings(home, monitor_env)
    return Setup(
        home=home,
        secrets=secrets,
        settings=settings,
        airflow_version=version,
        airflow_command=options.airflow.absolute() / "bin" / "airflow",
        airflow_env=airflow_environment(base, home, secrets, settings, ports["Airflow"].number),
        monitor_env=monitor_env,
        ports=ports,
    )


def monitor_command() -> Path:
    """Return the path of the command `windsock` in the running environment. Raises CannotStart."""
    command = Path(sys.executable).with_name("windsock")
    if not command.is_file():
        raise CannotStart(f"{command} is missing: install the monitor into this environment (`make envs`)")
    return command


def _own_settings(
    home: Home, secrets: Secrets, ports: Mapping[str, Port], settings: Settings
) -> dict[str, Any]:
    """Return the settings that the monitor gets in any case: it serves this Airflow, in this home."""
    mailbox = ports.get("the mailbox")
    monitor_url, airflow_url = (
        f"http://{LOOPBACK}:{ports[name].number}" for name in ("the monitor", "Airflow")
    )
    return {
        "home": home.root,
        "host": LOOPBACK,
        "port": ports["the monitor"].number,
        "public_url": monitor_url,
        "database_url": "",
        "auth": "airflow",
        "ingest_secret": secrets.ingest_secret,
        "session_secret": secrets.session_secret,
        "airflow_url": airflow_url,
        "airflow_public_url": airflow_url,
        "airflow_username": ADMIN,
        "airflow_password": secrets.airflow_password,
        "mailbox_smtp_port": mailbox.number if mailbox else None,
        "notification_email_to": settings.notification_email_to or (NOBODY,),
    }


def _monitor_environment(
    base: Mapping[str, str], environ: Mapping[str, str], own: Mapping[str, Any]
) -> dict[str, str]:
    """Return the monitor's environment: the base, the user's WINDSOCK_*, and `own` above all.

    The user's settings are of the mail server, the rules and the retention, for example."""
    users = {name: value for name, value in environ.items() if name.startswith("WINDSOCK_")}
    environment = {f"WINDSOCK_{name.upper()}": value for name, value in own.items()}
    environment["NOTIFICATION_EMAIL_TO"] = ",".join(environment.pop("WINDSOCK_NOTIFICATION_EMAIL_TO"))
    return {**base, **users, **{name: str(value) for name, value in environment.items() if value is not None}}
