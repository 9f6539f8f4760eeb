"""The directory that only this user may put events into.

The plugin signs the events in the directory with its secret, so another user's files must not get in.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


def own_directory(path: Path) -> None:
    """Make the directory if need be.
    Raises OSError if it is a link, no directory, or another user's.

    A link is not followed, because another local user who makes one first could redirect what we write."""
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(
            f"{path} is a link or no directory; give [windsock] spool_dir the path of a directory"
        )
    if status.st_uid != os.geteuid():
        raise PermissionError(
            f"{path} belongs to another user; give [windsock] spool_dir a path of this user's"
        )
    if status.st_mode & 0o077:
        path.chmod(0o700)
