"""Files that hold a database's content: made anew, for their owner alone, wherever they are put."""

import os
from pathlib import Path

OWNERS_ALONE = 0o600


def open_new(file: Path) -> int:
    """A descriptor to write a file that nobody has made before: what is there, be it a link, is removed.
    Raises OSError."""
    file.unlink(missing_ok=True)
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, OWNERS_ALONE)
