"""The settings: section `[windsock]` of Airflow's configuration, read once, at the edge.

A wrong setting never raises an exception inside Airflow. It becomes a sentence in `problems`, and the plugin
does what is still possible. Without a usable URL or secret the plugin keeps events in the spool. Without a
usable deployment name it can build no event and does nothing.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

SECTION = "windsock"
INGEST_PATH = "/api/v1/events"
DEPLOYMENT = re.compile(r"[A-Za-z0-9._-]{1,100}")  # docs/events.md
SECRET_PREFIX = "whsec_"  # noqa: S105 (the prefix that Standard Webhooks gives to every secret)
SECRET_BYTES = range(24, 65)  # Standard Webhooks
DEFAULT_PORTS = {"http": 80, "https": 443}

SWITCH = {"": False, **dict.fromkeys(("off", "false", "0", "no"), False)}
SWITCH.update(dict.fromkeys(("on", "true", "1", "yes"), True))

Read = Callable[[str], str]
"""Gives the text of a setting, "" where it is not set."""


@dataclass(frozen=True)
class Endpoint:
    """The address to which events are posted."""

    tls: bool
    host: str
    port: int
    path: str


@dataclass(frozen=True)
class Settings:
    """The plugin's settings. Without `endpoint` or `secrets`, events are kept and not sent."""

    deployment: str
    spool_dir: Path
    endpoint: Endpoint | None
    secrets: tuple[bytes, ...] = field(repr=False)
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    max_events: int = 50_000
    max_bytes: int = 256 * 1024 * 1024
    task_send_budget: float = 1.0
    traces: bool = False
    """True if events carry the trace that they belong to."""

    @property
    def source(self) -> str:
        """The CloudEvents source of this deployment."""
        return f"/airflow/{self.deployment}"

    @property
    def sends(self) -> bool:
        """True if there is a monitor to send to and a secret to sign with."""
        return self.endpoint is not None and bool(self.secrets)


@dataclass(frozen=True)
class Bounds:
    """A number setting: what it is if not set, and what it may be."""

    default: float
    lowest: float
    highest: float


NUMBERS = {
    "spool_max_events": Bounds(50_000, 1, 10_000_000),  # a busy day without the monitor
    "spool_max_bytes": Bounds(256 * 1024**2, 64 * 1024, 1024**4),  # at about 1 KiB an event, above the count
    # Seconds that all hooks of one task may spend on sending, together. With the spool's own work, a monitor
    # that accepts and never answers holds a task up by less than 1.5 s. 0: never send.
    "task_send_budget": Bounds(1.0, 0, 10),
}


def load(read: Read, airflow_home: Path) -> tuple[Settings | None, tuple[str, ...]]:
    """Return the settings, and each fault in them with its remedy.
    The settings are None if the plugin is to be inert."""
    url = read("monitor_url").strip()
    if not url:
        return None, ()
    problems: list[str] = []
    deployment = read("deployment").strip() or "local"
    if not DEPLOYMENT.fullmatch(deployment):
        problems.append(
            f"[windsock] deployment is {deployment!r}; it must be 1 to 100 of A-Z a-z 0-9 . _ -. "
            "Nothing is reported until it is mended."
        )
        return None, tuple(problems)
    numbers = {name: _number(name, read(name), problems) for name in NUMBERS}
    settings = Settings(
        deployment=deployment,
        spool_dir=_spool_dir(read("spool_dir").strip(), airflow_home),
        endpoint=_endpoint(url, problems),
        secrets=_secrets(_ingest_secret(read, airflow_home, problems), problems),
        include=_globs(read("include")),
        exclude=_globs(read("exclude")),
        max_events=int(numbers["spool_max_events"]),
        max_bytes=int(numbers["spool_max_bytes"]),
        task_send_budget=numbers["task_send_budget"],
        traces=_switch("traces", read("traces"), problems),
    )
    return settings, tuple(problems)


def from_airflow() -> tuple[Settings | None, tuple[str, ...]]:
    """Read the settings from the configuration of this process's Airflow."""
    from airflow.configuration import AIRFLOW_HOME, conf

    def read(name: str) -> str:
        return str(conf.get(SECTION, name, fallback="") or "")

    return load(read, Path(AIRFLOW_HOME))


def from_environment() -> tuple[Settings | None, tuple[str, ...]]:
    """Read the settings from Airflow's environment variables, without an installed Airflow."""

    def read(name: str) -> str:
        return os.environ.get(f"AIRFLOW__{SECTION.upper()}__{name.upper()}", "")

    return load(read, Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser())


def _endpoint(url: str, problems: list[str]) -> Endpoint | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        problems.append(f"[windsock] monitor_url cannot be read ({error}). {_URL_REMEDY}")
        return None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        problems.append(f"[windsock] monitor_url names no http or https host. {_URL_REMEDY}")
    elif parts.username is not None or parts.query or parts.fragment:
        problems.append(f"[windsock] monitor_url holds a login, a query or a fragment. {_URL_REMEDY}")
    elif not (parts.hostname + parts.path).isascii() or re.search(r"[\s\x00-\x1f\x7f]", url):
        problems.append(f"[windsock] monitor_url holds white space or non-ASCII letters. {_URL_REMEDY}")
    else:
        path = parts.path.rstrip("/") + INGEST_PATH
        default = DEFAULT_PORTS[parts.scheme]
        return Endpoint(parts.scheme == "https", parts.hostname, default if port is None else port, path)
    return None


_URL_REMEDY = "Write it like http://windsock:8090. Events are kept in the spool until it is mended."


def _ingest_secret(read: Read, airflow_home: Path, problems: list[str]) -> str:
    """Read the secret from the setting or from a file.
    Airflow's own `_CMD` works only for secrets that Airflow knows."""
    text, path = read("ingest_secret"), read("ingest_secret_file").strip()
    if not path:
        return text
    if text.strip():
        problems.append(
            "[windsock] ingest_secret and ingest_secret_file are both set: take one away. The file is left."
        )
        return text
    try:
        return (airflow_home / Path(path).expanduser()).read_text()
    except (OSError, UnicodeError) as error:
        problems.append(
            f"[windsock] ingest_secret_file is {path!r} and cannot be read ({error}). Name a file that "
            "Airflow's user may read."
        )
        return ""


def _secrets(text: str, problems: list[str]) -> tuple[bytes, ...]:
    secrets = [_secret(number, secret, problems) for number, secret in enumerate(text.split(), start=1)]
    if not secrets:
        problems.append(
            "[windsock] ingest_secret is not set, and the monitor takes signed events only. Set the same "
            "whsec_… for Airflow and the monitor. Events are kept in the spool until it is mended."
        )
    return tuple(secret for secret in secrets if secret)


def _secret(number: int, text: str, problems: list[str]) -> bytes:
    """Return the key, or b"" if the secret is invalid. The value itself is never shown."""
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if text.startswith(SECRET_PREFIX) and len(key) in SECRET_BYTES:
        return key
    problems.append(
        f"[windsock] ingest_secret: secret {number} is not whsec_ and the base64 of 24 to 64 bytes; it is "
        "not used. Make one with: python -c \"import base64, os; print('whsec_' + "
        'base64.b64encode(os.urandom(32)).decode())"'
    )
    return b""


def _number(name: str, text: str, problems: list[str]) -> float:
    bounds = NUMBERS[name]
    if not text.strip():
        return bounds.default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if bounds.lowest <= value <= bounds.highest:
        return value
    problems.append(
        f"[windsock] {name} is {text.strip()!r}; it must be a number from {bounds.lowest:g} to "
        f"{bounds.highest:g}. {bounds.default:g} is used instead."
    )
    return bounds.default


def _switch(name: str, text: str, problems: list[str]) -> bool:
    value = text.strip().lower()
    if value not in SWITCH:
        problems.append(f"[windsock] {name} is {text.strip()!r}; it must be on or off. It is off.")
    return SWITCH.get(value, False)


def _spool_dir(text: str, airflow_home: Path) -> Path:
    return airflow_home / Path(text or "windsock-spool").expanduser()


def _globs(text: str) -> tuple[str, ...]:
    return tuple(glob.strip() for glob in text.split(",") if glob.strip())
