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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from monitor.cli.up.processes import CannotStart
from monitor.secret_files import require_own_home
from monitor.settings_loading import UP_FILE

ADMIN = "admin"
MIN_FREE_BYTES = 300 * 1024**2  # Airflow's database, logs and models of some hundred runs
ENDING_SECONDS = 20.0  # if the last run was killed, its processes notice and end within this time
ANOTHER = "make run WINDSOCK_HOME=/some/other/folder"
PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600


def _token() -> str:
    return secrets.token_urlsafe(48)


@dataclass(frozen=True)
class Secrets:
    """The secrets of a home, for both sides of everything that is signed or signed in to."""

    ingest_secret: str = field(
        default_factory=lambda: "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    )
    session_secret: str = field(default_factory=_token)
    airflow_password: str = field(default_factory=lambda: secrets.token_urlsafe(12))  # a person types it
    jwt_secret: str = field(default_factory=_token)
    api_secret_key: str = field(default_factory=_token)
    fernet_key: str = field(
        default_factory=lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    )


class Home:
    """The folders and files below the home, all absolute."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.airflow = self.root / "airflow"
        self.airflow_database = self.airflow / "airflow.db"
        self.airflow_migrated = self.airflow / "migrated-by"
        """Holds the version of the Airflow that last migrated the database."""
        self.airflow_passwords = self.airflow / "passwords.json"
        self.spool = self.root / "spool"
        self.models = self.root / "models"
        self.logs = self.root / "logs"
        self.settings = self.root / UP_FILE
        """The monitor's settings, for the commands that ask about it."""
        self.secrets = self.root / "secrets.json"


@contextmanager
def open_home(root: Path) -> Iterator[tuple[Home, int]]:
    """Make the folders and take the lock, and yield the home and the lock's file descriptor.

    Processes of the home inherit the descriptor. The home is free again when the last of them has ended,
    however its starter ended. Raises CannotStart if the home is not writable, full, or in use."""
    home = Home(root)
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
    """Return the home's secrets. Missing secrets are made and kept. Raises CannotStart for a broken file."""
    with _explain_errors(home):
        stored = _read_secrets(home.secrets)
        made = Secrets(**{name: stored[name] for name in asdict(Secrets()) if stored.get(name)})
        if asdict(made) != stored:
            write_private(home.secrets, json.dumps(asdict(made), indent=1))
        write_private(home.airflow_passwords, json.dumps({ADMIN: made.airflow_password}))
    return made


def keep_settings(home: Home, environment: Mapping[str, str]) -> None:
    """Write down what the monitor runs with, so that `windsock check`, `tail` and the others ask that one."""
    values = {
        name: value
        for name, value in sorted(environment.items())
        if name.startswith("WINDSOCK_") or name == "NOTIFICATION_EMAIL_TO"
    }
    escaped = str.maketrans({"\\": "\\\\", "'": "\\'"})
    lines = [f"{name}='{value.translate(escaped)}'\n" for name, value in values.items()]
    with _explain_errors(home):
        write_private(home.settings, "# Written by `windsock up` at each start.\n" + "".join(lines))


def write_private(path: Path, text: str) -> None:
    """Replace the file in one step, so that no other user can read it at any time."""
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
    """Take the lock, and write down who has it. Wait while processes of a killed run still end."""
    deadline = time.monotonic() + ENDING_SECONDS
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        owner = os.pread(lock, 20, 0).decode(errors="replace").strip()
        if time.monotonic() > deadline or (owner.isdigit() and psutil.pid_exists(int(owner))):
            raise CannotStart(
                f"windsock is already running in {home.root} (process {owner or 'unknown'}). Stop that one "
                f"with Ctrl-C or `kill {owner or '<its id>'}`, or give this one a home of its own: {ANOTHER}"
            )
        time.sleep(0.1)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _check_space(home: Home) -> None:
    free = shutil.disk_usage(home.root).free
    if free < MIN_FREE_BYTES:
        raise CannotStart(
            f"{home.root} has {free // 1024**2} MB left and at least {MIN_FREE_BYTES // 1024**2} MB are "
            f"needed. Free some space, or choose another place: {ANOTHER}"
        )


@contextmanager
def _explain_errors(home: Home) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise CannotStart(
            f"cannot write {error.filename or home.root}: {reason}. "
            f"Mend that, or choose another place: {ANOTHER}"
        ) from None
