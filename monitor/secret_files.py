"""The secrets in files, the keys that the monitor makes, and the checks of files that it trusts.

`read_secrets` reads secrets from files that settings name. `key_at` reads a key, and makes a missing one.
`open_new` opens a new file for its owner alone.

`make_home`, `require_own_home` and `require_own_env_file` refuse a file or folder that the monitor trusts if
another user of the machine could have changed it. `doubts` only warns of files that others may change,
because such files may belong to an administrator.
"""

import logging
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from monitor.errors import SettingsError

PREFIX = "WINDSOCK_"
SECRETS = (
    "ingest_secret",
    "session_secret",
    "database_url",  # may hold a password, as do the further Airflows
    "airflow_password",
    "airflows",
    "smtp_password",
    "smtp_oauth2_refresh_token",
    "smtp_oauth2_client_secret",
)
MAX_BYTES = 64 * 1024  # far above any secret: another file was meant


def read_secrets(environment: Mapping[str, str], names: Iterable[str] = SECRETS) -> dict[str, str]:
    """Return the settings that files hold, without the line end that editors add.
    An empty file counts as a name that is not set. Raises SettingsError, which shows no secret."""
    read = {name: _read(name, environment) for name in names}
    return {name: value for name, value in read.items() if value}


def secrets_files(environment: Mapping[str, str]) -> dict[str, Path]:
    """Return the files that secrets come from, by their settings."""
    variables = (f"{PREFIX}{name.upper()}_FILE" for name in SECRETS)
    return {name: Path(path) for name in variables if (path := environment.get(name))}


def _read(name: str, environment: Mapping[str, str]) -> str:
    variable = PREFIX + name.upper()
    path = environment.get(f"{variable}_FILE")
    if not path:
        return ""
    if environment.get(variable):
        raise SettingsError(f"{variable} and {variable}_FILE are both set: take one of them away")
    return _content(f"{variable}_FILE", Path(path)).removesuffix("\n").removesuffix("\r")


def _content(variable: str, path: Path) -> str:
    remedy = "name a file that this user may read and that holds the secret alone"
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode()
    except OSError as error:
        raise SettingsError(f"{variable}: {str(path)!r}: {error.strerror}; {remedy}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}: {str(path)!r} is not text in UTF-8; {remedy}") from None
    if len(content) > MAX_BYTES:
        raise SettingsError(f"{variable}: {str(path)!r} is longer than {MAX_BYTES} bytes; {remedy}")
    return text


KEY_BYTES = 32  # as long as SHA-256's answer: more would not make a signature stronger
OWNERS_ALONE = 0o600
OTHERS = stat.S_IRWXG | stat.S_IRWXO

logger = logging.getLogger(__name__)


def key_at(path: Path) -> str:
    """Return the key in the file, which is made if it is missing.
    Raises SettingsError.

    Other users' rights to the file are removed. Two monitors that start at once in one home end with one
    key."""
    if not os.path.lexists(path):
        _make(path)
    return _read_key(path)


def _make(path: Path) -> None:
    new_path = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(new_path, secrets.token_hex(KEY_BYTES) + "\n")
        with suppress(FileExistsError):  # another monitor was faster: its key counts
            os.link(new_path, path)  # whole or not at all
        new_path.unlink()
    except OSError as error:
        raise SettingsError(f"{path}: cannot be made ({error}); make its folder writable") from None


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNERS_ALONE)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _read_key(path: Path) -> str:
    remedy = "delete it, and a new one is made; links in mails that were sent before then stop working"
    try:
        # A symbolic link could lead to a file that another user writes. A pipe would never answer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    with os.fdopen(descriptor) as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise SettingsError(f"{path}: is no file; {remedy}")
        _close_to_others(path, descriptor, about)
        try:
            key = file.read(4 * KEY_BYTES).strip()
            whole = len(bytes.fromhex(key)) == KEY_BYTES
        except ValueError:
            whole = False
    if not whole:
        raise SettingsError(f"{path}: does not hold {KEY_BYTES} bytes as hexadecimal digits; {remedy}")
    return key


def _close_to_others(path: Path, descriptor: int, about: os.stat_result) -> None:
    """Remove other users' rights to the file. Raises SettingsError if the file is another user's."""
    mode = stat.S_IMODE(about.st_mode)
    if not mode & OTHERS:
        return
    try:
        os.fchmod(descriptor, OWNERS_ALONE)
    except OSError:
        raise SettingsError(
            f"{path}: others may read it (mode {mode:o}) and it is not ours to change; "
            f"chown it to the monitor's user and chmod it to {OWNERS_ALONE:o}"
        ) from None
    logger.warning("%s: others could read it (mode %o), now it is %o", path, mode, OWNERS_ALONE)


NEW_FILE_MODE = 0o600


def open_new(file: Path) -> int:
    """Open a new file for writing and return its descriptor.
    An existing file, or a link, is removed first. Raises OSError."""
    file.unlink(missing_ok=True)
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, NEW_FILE_MODE)


ROOT = 0
STEERING = ("windsock.yaml", "windsock.db", "link.key", "journal", "mailbox")
"""The files that the monitor looks for in its home, and would accept from another user who made them first.
"""


def make_home(home: Path) -> None:
    """Make the home folder if need be. Raises SettingsError if it is another user's."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    require_own_home(home)


def require_own_home(home: Path) -> None:
    """Raise SettingsError if another user could have put something into the home folder.
    The folder's rules say who gets mail, and its database what has happened."""
    paths = [home]
    if home.stat().st_mode & stat.S_IWOTH:  # anybody makes files in it, as in /tmp
        paths += [path for name in STEERING if (path := home / name).exists()]
    for path in paths:
        if fault := _fault(path):
            raise SettingsError(
                f"WINDSOCK_HOME: {fault}, so what is in it may be somebody else's. Name another folder, run "
                f"this as its owner, or mend it: chown {os.geteuid()} {path} && chmod 700 {path}"
            )


def require_own_env_file(file: Path) -> None:
    """Raise SettingsError if a file of settings, or its folder, is another user's.
    The file says where tokens and passwords are sent."""
    for path in (file, file.absolute().parent):
        if (owner := path.stat().st_uid) not in (ROOT, os.geteuid()):
            raise SettingsError(
                f"{file}: {path} belongs to another user ({owner}) than this one ({os.geteuid()}), so its "
                "settings may be somebody else's. Run this in another folder, or mend it: "
                f"chown {os.geteuid()} {path}"
            )


def doubts(files: Mapping[str, Path]) -> Iterator[str]:
    """Yield what others may change of the files that settings name, and of their folders.
    The files may belong to an administrator, so they are mentioned and used all the same."""
    for setting, path in files.items():
        for checked in (path, path.absolute().parent):
            if checked.exists() and (fault := _fault(checked)):
                yield f"{setting}: {fault}, who may change what the monitor does or reads there"
                break


def _fault(path: Path) -> str | None:
    """Return why another user than root can change the path, or None.
    A group that may write does not count, because an administrator has set it up, as Kubernetes does
    (fsGroup)."""
    status = path.stat()
    description = f"{path} (owner {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o})"
    if status.st_uid not in (ROOT, os.geteuid()):
        return f"{description} belongs to another user than this one ({os.geteuid()})"
    is_sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    # An emptyDir of Kubernetes can be written by all and belongs to root, but only this container has it.
    is_volume = status.st_uid == ROOT and path.is_mount()
    if status.st_mode & stat.S_IWOTH and not is_sticky and not is_volume:
        return f"{description} may be written by anybody"
    return None
