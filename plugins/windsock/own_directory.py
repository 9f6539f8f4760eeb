"""A directory that only this user may put events into: what lies there is signed with our secret."""

from __future__ import annotations

import os
from pathlib import Path


def own_directory(path: Path) -> None:
    """Makes it if need be. Raises OSError."""
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.stat()
    if status.st_uid != os.geteuid():
        raise PermissionError(
            f"{path} belongs to another user; give [windsock] spool_dir a path of this user's"
        )
    if status.st_mode & 0o077:
        path.chmod(0o700)
