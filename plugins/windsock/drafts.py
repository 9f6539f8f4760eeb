"""Empty files made ready by a thread, so that a hook has only to fill and rename one: on a busy disk, making
a file is most of the time that a put takes."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

READY = 128  # files a process: a busy second's state changes; what is more is made by the hook itself
PREFIX = ".ready-"  # hidden: no event


class Drafts:
    """Files in `directory`. Belongs to the process that made it: a child forgets its parent's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ready: deque[Path] = deque()

    def take(self) -> Path:
        """An empty file that nobody else has. Raises OSError."""
        try:
            return self._ready.popleft()
        except IndexError:
            return self.make()

    def make(self) -> Path:
        """A new one, whatever is ready. Raises OSError."""
        path = self._directory / f"{PREFIX}{os.getpid()}-{os.urandom(8).hex()}"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        return path

    def stock(self) -> None:
        """Called by a thread, between hooks. Raises OSError."""
        while len(self._ready) < READY:
            self._ready.append(self.make())

    def forget(self) -> None:
        """Leaves what is ready to whoever owns it, or sweeps it away."""
        self._ready.clear()
