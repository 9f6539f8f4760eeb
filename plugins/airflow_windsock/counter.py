"""The counter that all processes of a host share, as a file with one byte for each count.

The file's size is the count, so an addition needs no lock.
"""

from __future__ import annotations

import os
from pathlib import Path


class SharedCounter:
    """The counter that processes share through a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self) -> None:
        """Add one.
        A count that cannot be written (the disk is full) is lost, but what it counts is logged."""
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, 0o600)
        except OSError:
            return
        try:
            os.write(descriptor, b".")
        except OSError:
            return
        finally:
            os.close(descriptor)

    def __int__(self) -> int:
        try:
            return self._path.lstat().st_size
        except FileNotFoundError:
            return 0
