"""The bound of the spool's size, checked without a scan of the directory for each event.

A drainer lists the directory at every pass and writes the count and size into a small file. A process that
adds an event relies on that file and on its own additions since. It counts for itself only if no drainer
runs on this host and the file is old. So the bound is soft: the additions of other processes within
STALE_AFTER can exceed it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from airflow_windsock import small_file

LOOK_EVERY = 1.0  # seconds: a put looks at the file no oftener
WRITE_EVERY = 5.0  # seconds: a drainer writes it no oftener
STALE_AFTER = 30.0  # seconds: longer than one request ever holds up a drainer


class Quota:
    """The bound of the whole spool, in events and bytes, across all processes."""

    def __init__(
        self, path: Path, max_events: int, max_bytes: int, measure: Callable[[], tuple[int, int]]
    ) -> None:
        self._path = path
        self._max_events, self._max_bytes = max_events, max_bytes
        self._measure = measure
        self._events = self._bytes = 0
        self._looked = self._written_at = float("-inf")
        self._seen = 0

    @property
    def events(self) -> int:
        """The number of events in the spool, as last counted."""
        return self._events

    def admits(self, events: int, size: int) -> bool:
        """Return True if so many more events, of `size` bytes together, may be put, by the last count."""
        return self._events + events <= self._max_events and self._bytes + size <= self._max_bytes

    def add(self, size: int) -> None:
        """Count one more event of `size` bytes."""
        self._events += 1
        self._bytes += size

    def update(self, events: int, total: int) -> None:
        """Share with every process a fresh count of what the spool holds."""
        self._events, self._bytes = events, total
        if time.monotonic() - self._written_at < WRITE_EVERY:
            return
        self._written_at = time.monotonic()
        try:
            small_file.write(self._path, f"{events} {total}")
        except FileNotFoundError:  # there is no spool yet: nothing was ever put
            return

    def look(self) -> None:
        """Take over another process's count, or count if no other process does."""
        if time.monotonic() - self._looked < LOOK_EVERY:
            return
        self._looked = time.monotonic()
        try:
            status = self._path.stat()
            if time.time() - status.st_mtime > STALE_AFTER:
                self.update(*self._measure())
            elif status.st_mtime_ns != self._seen:
                self._seen = status.st_mtime_ns
                self._events, self._bytes = map(int, self._path.read_text().split())
        except (FileNotFoundError, ValueError):
            self.update(*self._measure())
