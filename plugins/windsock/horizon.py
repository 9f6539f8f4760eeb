"""Up to where the order of what waits is certain: an event that a living process still holds in its journal
may be older than what others have put into the spool, and of the same run."""

from __future__ import annotations

import os
import time
from pathlib import Path

from windsock.journal import FOLDER, HEAD, PREFIX

HELD_AT_MOST = 5.0  # seconds; a process that was stopped, or whose disk is broken, must not hold up others


def horizon(root: Path) -> str | None:
    """The least of the names that must still wait; None where all may go. Raises OSError."""
    folder = root / FOLDER
    too_old = f"{time.time_ns() - int(HELD_AT_MOST * 1e9):020d}"
    held = [_first_held(path) for path in folder.iterdir()] if folder.is_dir() else []
    return min((moment for moment in held if moment is not None and moment > too_old), default=None)


def _first_held(path: Path) -> str | None:
    """The moment of the first line that the spool lacks. None for what is no journal: whoever recovers
    journals says what is wrong with it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # among others: its process ended just now, and everything is in the spool
        return None
    try:
        head = os.pread(descriptor, HEAD - 1, 0)
        moment = os.pread(descriptor, PREFIX - 1, int(head)) if head.isdigit() else b""
    except (OSError, OverflowError):  # a folder, or a position beyond what a file can have
        return None
    finally:
        os.close(descriptor)
    return moment.decode() if len(moment) == PREFIX - 1 and moment.isdigit() else None
