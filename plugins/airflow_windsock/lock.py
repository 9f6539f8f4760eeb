"""The file lock that lets one process of a host send at a time, so that events go out in one order.

The death of the lock's holder frees the lock.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TURN = "drainer.lock"  # in the spool directory
LOOK_AGAIN = 0.002  # seconds: a task's hook that waits looks so often


class FileLock:
    """A lock on a file, for one thread of each process. A forked child calls `forget`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    @contextmanager
    def acquire(self, within: float = 0.0) -> Iterator[bool]:
        """Yield True if this process gets the lock within so many seconds, else False. Raises OSError."""
        if self._file is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o600)
        if not self._lock(self._file, time.monotonic() + within):
            yield False
            return
        try:
            yield True
        finally:
            if self._file is not None:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _lock(self, file: int, until: float) -> bool:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() >= until:
                    return False
            time.sleep(LOOK_AGAIN)

    def forget(self) -> None:
        """Close this process's file.
        The lock belongs to the open file, which parent and child share, so closing it leaves the parent's
        lock."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
