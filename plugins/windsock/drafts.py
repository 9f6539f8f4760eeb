"""Empty files made ready by a thread, so that a hook has only to fill and rename one: on a busy disk, making
a file is most of the time that a put takes."""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from pathlib import Path

READY = 32  # files a process: a burst of state changes; what is more is made by the hook itself
PREFIX = ".ready-"  # hidden: no draft of a dead writer, and no event

Draft = tuple[int, Path]
"""An open, empty file and its path."""


class Drafts:
    """Files in `directory`. Belongs to the process that made it: a child forgets its parent's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ready: deque[Draft] = deque()

    def take(self) -> Draft:
        """A draft that nobody else has. Raises OSError."""
        try:
            return self._ready.popleft()
        except IndexError:
            return self.make()

    def make(self) -> Draft:
        """A new one, whatever is ready. Raises OSError."""
        path = self._directory / f"{PREFIX}{os.getpid()}-{os.urandom(8).hex()}"
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), path

    def stock(self) -> None:
        """Called by a thread, between hooks. Raises OSError."""
        while len(self._ready) < READY:
            self._ready.append(self.make())

    def forget(self) -> None:
        """Gives up what is ready, and leaves the files to whoever owns them or sweeps them."""
        while self._ready:
            with suppress(IndexError, OSError):
                os.close(self._ready.popleft()[0])
