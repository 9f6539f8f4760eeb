"""Files and folders that the monitor believes, or writes secrets into: nobody else on the machine may have
put something there."""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from monitor.errors import SettingsError

ROOT = 0
STEERING = ("windsock.yaml", "windsock.db", "link.key", "journal", "mailbox")
"""What the monitor looks for in its home, and would take from whoever made it first."""


def make_home(home: Path) -> None:
    """Make the home folder if need be. Raises SettingsError where it is another user's."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    require_own_home(home)


def require_own_home(home: Path) -> None:
    """Raises SettingsError if another user could have put something into the home folder: its rules say who
    gets mail, and its database what has happened."""
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
    """Raises SettingsError if a file of settings, or the folder that it is in, is another user's: it says
    where tokens and passwords are sent."""
    for path in (file, file.absolute().parent):
        if (owner := path.stat().st_uid) not in (ROOT, os.geteuid()):
            raise SettingsError(
                f"{file}: {path} belongs to another user ({owner}) than this one ({os.geteuid()}), so its "
                "settings may be somebody else's. Run this in another folder, or mend it: "
                f"chown {os.geteuid()} {path}"
            )


def doubts(named: Mapping[str, Path]) -> Iterator[str]:
    """What others may change of the files that settings name, and of the folders that those are in. These may
    belong to whoever administrates them, so they are told of, and used."""
    for setting, path in named.items():
        for one in (path, path.absolute().parent):
            if one.exists() and (fault := _fault(one)):
                yield f"{setting}: {fault}, who may change what the monitor does or reads there"
                break


def _fault(path: Path) -> str | None:
    """What lets another user than root change it; None: nothing does. A group that may write is one that
    somebody has set up, as Kubernetes does (fsGroup)."""
    status = path.stat()
    shown = f"{path} (owner {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o})"
    if status.st_uid not in (ROOT, os.geteuid()):
        return f"{shown} belongs to another user than this one ({os.geteuid()})"
    is_sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    # An emptyDir of Kubernetes is anybody's to write, and root's; only this container has it.
    is_volume = status.st_uid == ROOT and path.is_mount()
    if status.st_mode & stat.S_IWOTH and not is_sticky and not is_volume:
        return f"{shown} may be written by anybody"
    return None
