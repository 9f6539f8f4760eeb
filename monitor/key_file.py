"""A secret that a monitor makes for itself at its first start and keeps in its home."""

import logging
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from monitor.errors import SettingsError

KEY_BYTES = 32  # as long as SHA-256's answer: more would not make a signature stronger
OWNERS_ALONE = 0o600
OTHERS = stat.S_IRWXG | stat.S_IRWXO

logger = logging.getLogger(__name__)


def key_at(path: Path) -> str:
    """The key in the file, which is made where it is missing. Raises SettingsError.

    Others' rights are taken away from it. Two monitors that start at once in one home end with one key.
    """
    if not os.path.lexists(path):
        _make(path)
    return _read(path)


def _make(path: Path) -> None:
    written = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(written, secrets.token_hex(KEY_BYTES) + "\n")
        with suppress(FileExistsError):  # another monitor was faster: its key counts
            os.link(written, path)  # whole or not at all
        written.unlink()
    except OSError as error:
        raise SettingsError(f"{path}: cannot be made ({error}); make its folder writable") from None


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNERS_ALONE)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> str:
    remedy = "delete it, and a new one is made; links in mails that were sent before then stop working"
    try:
        # A symbolic link could lead to a file that someone else writes; a pipe would never answer.
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
    """Take others' rights away. Raises SettingsError where the file is another user's."""
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
