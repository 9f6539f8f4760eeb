"""The home folder of `windsock up`: its content, its secrets, and its lock.

The lock keeps a second `windsock up` out of the folder.
"""

import base64
import contextlib
import errno
import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from monitor.cli.up.processes import CannotStart
from monitor.secret_files import require_own_home
from monitor.settings_loading import UP_FILE

ADMIN = "admin"
MIN_FREE_BYTES = 300 * 1024**2  # Airflow's database, logs and models of some hundred runs
ENDING_SECONDS = 20.0  # if the last run was killed, its processes notice and end within this time
PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600


@dataclass(frozen=True)
class Secrets:
    """Made once for each home; both sides of everything that is signed or signed in to."""

    ingest_secret: str
    session_secret: str
    airflow_password: str
    jwt_secret: str
    api_secret_key: str
    fernet_key: str


def _token() -> str:
    return secrets.token_urlsafe(48)


MAKERS: dict[str, Callable[[], str]] = {
    "ingest_secret": lambda: "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
    "session_secret": _token,
    "airflow_password": lambda: secrets.token_urlsafe(12),  # a person types it
    "jwt_secret": _token,
    "api_secret_key": _token,
    "fernet_key": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
}


@dataclass(frozen=True)
class Home:
    """The folders and files below the home, all absolute."""

    root: Path

    @property
    def airflow(self) -> Path:
        return self.root / "airflow"

    @property
    def airflow_database(self) -> Path:
        return self.airflow / "airflow.db"

    @property
    def airflow_migrated(self) -> Path:
        """Holds the version of the Airflow that last migrated the database."""
        return self.airflow / "migrated-by"

    @property
    def airflow_passwords(self) -> Path:
        return self.airflow / "passwords.json"

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def settings(self) -> Path:
        """The monitor's settings, for the commands that ask about it."""
        return self.root / UP_FILE

    @property
    def secrets(self) -> Path:
        return self.root / "secrets.json"


@contextmanager
def open_home(root: Path) -> Iterator[tuple[Home, int]]:
    """Make the folders and take the lock; its file descriptor is given too.

    Who starts processes in the home hands the descriptor to them: the home is free again when the last of
    them has ended, however its starter ended. Raises CannotStart: not writable, full, or in use.
    """
    home = Home(root.absolute())
    with _explain_errors(home):
        for folder in (home.root, home.airflow, home.spool, home.models, home.logs):
            folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
            require_own_home(folder)
        lock = os.open(home.root / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        _take(lock, home)
        _check_space(home)
        yield home, lock
    finally:
        os.close(lock)


def load_secrets(home: Home) -> Secrets:
    """The home's secrets; those that it lacks are made and kept. Raises CannotStart for a broken file."""
    with _explain_errors(home):
        stored = _read_secrets(home.secrets)
        missing = {name: make() for name, make in MAKERS.items() if not stored.get(name)}
        values = {**stored, **missing}
        if missing:
            write_private(home.secrets, json.dumps(values, indent=1))
        write_private(home.airflow_passwords, json.dumps({ADMIN: values["airflow_password"]}))
    return Secrets(**{name: values[name] for name in MAKERS})


def keep_settings(home: Home, environment: Mapping[str, str]) -> None:
    """Write down what the monitor runs with, so that `windsock check`, `tail` and the others ask that one."""
    values = {
        name: value
        for name, value in sorted(environment.items())
        if name.startswith("WINDSOCK_") or name == "NOTIFICATION_EMAIL_TO"
    }
    lines = [f"{name}='{_escape(value)}'\n" for name, value in values.items()]
    with _explain_errors(home):
        write_private(home.settings, "# Written by `windsock up` at each start.\n" + "".join(lines))


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def write_private(path: Path, text: str) -> None:
    """Replace the file in one step; nobody else may ever read it."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _read_secrets(path: Path) -> dict[str, str]:
    remedy = f"Mend it, or remove it with the whole home: rm -r {path.parent / 'airflow'} {path}"
    try:
        stored: Any = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise CannotStart(f"{path} is not JSON ({error}). {remedy}") from None
    if not isinstance(stored, dict) or not all(isinstance(value, str) for value in stored.values()):
        raise CannotStart(f"{path} is not a JSON object of texts. {remedy}")
    path.chmod(PRIVATE_FILE)
    return stored


def _take(lock: int, home: Home) -> None:
    deadline = time.monotonic() + ENDING_SECONDS
    while not _try_lock(lock):
        owner = os.pread(lock, 20, 0).decode(errors="replace").strip()
        if time.monotonic() > deadline or (owner.isdigit() and psutil.pid_exists(int(owner))):
            raise CannotStart(
                f"windsock is already running in {home.root} (process {owner or 'unknown'}). Stop that one "
                f"with Ctrl-C or `kill {owner or '<its id>'}`, or give this one a home of its own: "
                "make run WINDSOCK_HOME=/some/other/folder"
            )
        time.sleep(0.1)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _check_space(home: Home) -> None:
    free = shutil.disk_usage(home.root).free
    if free < MIN_FREE_BYTES:
        raise CannotStart(
            f"{home.root} has {free // 1024**2} MB left and at least {MIN_FREE_BYTES // 1024**2} MB are "
            "needed. Free some space, or choose another place: make run WINDSOCK_HOME=/some/other/folder"
        )


@contextlib.contextmanager
def _explain_errors(home: Home) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise CannotStart(
            f"cannot write {error.filename or home.root}: {reason}. Mend that, or choose another place: "
            "make run WINDSOCK_HOME=/some/other/folder"
        ) from None
