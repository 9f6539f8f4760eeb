"""The spool: a directory that holds each event in a file until the monitor has accepted it.

    tmp/   being written        new/   waiting to be sent       bad/   never accepted, with the reason

A file is written in tmp/ and renamed into new/. So new/ holds whole events only, and any number of processes
put and take without a lock. Names sort by the time of the put. They end in the size, as in Maildir++, so
counting bytes needs no stat.

Nothing is flushed to the disk (fsync): an event survives the death of any process. After a power loss the
last seconds' files may be empty or gone. Empty files end in bad/, and the monitor's reconciler fills the
gap.

Nothing is rotated: a file is removed when the monitor has accepted its event, and bad/ keeps the last
`MAX_BAD` files. When the spool is at its bound (quota.py), or the disk is full, the newest event is refused
and counted (`refused`, which the monitor shows as a metric). The hook logs the reason and goes on
(listener.py), and the reconciler fills the gap."""

from __future__ import annotations

import errno
import itertools
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from airflow_windsock.counter import SharedCounter
from airflow_windsock.one_line import one_line
from airflow_windsock.own_directory import own_directory
from airflow_windsock.quota import Quota

log = logging.getLogger("airflow_windsock.spool")

NAME = re.compile(r"\d{20}-\d+-\d+-(\d+)\.json")
MAX_EVENT_BYTES = 1024 * 1024  # far above what the builders' bounds allow, far below a request's 4 MiB
MAX_BAD = 1_000  # files kept in bad/: enough to see what is wrong, not enough to fill a disk
PIECE = 500  # names that are looked at without a pause: some tenths of a millisecond
BREATH = 0.0001  # seconds: long enough for a thread that waits for the GIL to get it
ABANDONED_AFTER = 3600.0  # seconds in tmp/: its writer is dead, who needed milliseconds


class Full(Exception):
    """The spool is at its bound. The event was refused and counted."""


@dataclass(frozen=True)
class SpooledEvent:
    """An event that was read back: its file's name, its id and its JSON."""

    name: str
    event_id: str
    body: bytes


class Spool:
    """The directory of events that wait for the monitor.
    Raises OSError if the directory cannot be used. `add` also raises Full."""

    def __init__(
        self, root: Path, max_events: int, max_bytes: int, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.root = root
        self._clock = clock
        self._tmp, self._new, self._bad = (root / name for name in ("tmp", "new", "bad"))
        self._quota = Quota(root / "usage", max_events, max_bytes, self._measure)
        self.refused = SharedCounter(root / "refused")
        self._serial = itertools.count()
        self._last = 0
        self._ready = False

    def add(self, body: bytes) -> str:
        """Keep one event and return the name of its file."""
        self.prepare()
        self.look()
        self.admit(len(body))
        try:
            return self.store(body, self.moment())
        except OSError:
            self.refused.add()
            raise

    def look(self) -> None:
        """Learn now and then how much the spool holds, across all processes."""
        self._quota.look()

    def admit(self, size: int, waiting: int = 0, waiting_bytes: int = 0) -> None:
        """Raise Full if an event of `size` bytes has no room, counting what waits in a journal too."""
        if size > MAX_EVENT_BYTES or not self._quota.admits(1 + waiting, size + waiting_bytes):
            self.refused.add()
            raise Full(f"{self.root} is full: see [windsock] spool_max_events and spool_max_bytes")

    def store(self, body: bytes, moment: int) -> str:
        """Keep one event whatever the bound. Return the name of its file, which sorts by `moment`."""
        name = self._name(len(body), moment)
        _write(self._tmp / name, body).rename(self._new / name)
        self._quota.add(len(body))
        return name

    @property
    def waiting(self) -> int:
        """The number of events in the spool, as last counted."""
        return self._quota.events

    def _name(self, size: int, moment: int) -> str:
        return f"{moment:020d}-{os.getpid()}-{next(self._serial)}-{size}.json"  # the serial separates threads

    def moment(self) -> int:
        """Return the present in nanoseconds.
        The value grows in this process even if the clock is set back."""
        self._last = moment = max(self._clock(), self._last + 1)
        return moment

    def names(self, most: int = sys.maxsize) -> list[str]:
        """Return the oldest names in order. Hidden files (NFS makes them) are no events."""
        if not self._exists():
            return []
        oldest: list[str] = []
        count = total = 0
        for piece in _pieces(self._new):
            oldest = sorted(oldest + piece)[:most]
            events, size = _total(piece)
            count, total = count + events, total + size
        self._quota.update(count, total)
        return oldest

    def read(self, name: str) -> SpooledEvent | None:
        """Return the event in that file.
        None means that another process took it, or that it was no event and was set aside."""
        try:
            body = _read(self._new / name)
            event = json.loads(body)
            return SpooledEvent(name, _event_id(event), body)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            self.set_aside(name, f"cannot be read as an event: {error}")
            return None

    def remove(self, name: str) -> None:
        """Remove the file of an event that the monitor has accepted."""
        (self._new / name).unlink(missing_ok=True)

    def set_aside(self, name: str, reason: str) -> None:
        """Move a file into bad/ and write the reason next to it. Raises OSError if it cannot be moved."""
        self.prepare()
        try:
            (self._new / name).rename(self._bad / name)
        except FileNotFoundError:
            return
        reason = one_line(reason)  # it may be another server's words
        log.warning("windsock: %s is set aside in %s: %s", name, self._bad, reason)
        with suppress(OSError):  # a full disk: the file is out of the way, and the reason is logged
            (self._bad / f"{name}.reason").write_text(reason + "\n", "utf-8", "replace")
        self._prune()

    def recover(self) -> None:
        """Clear tmp/ of files whose writers died: a whole event is sent after all, the rest is removed."""
        if not self._exists():
            return
        for draft in self._tmp.iterdir():
            with suppress(FileNotFoundError):  # its writer lives, or another recovers too
                status = draft.lstat()
                if time.time() - status.st_mtime > ABANDONED_AFTER:
                    self._recover(draft, status.st_size)

    def _recover(self, draft: Path, size: int) -> None:
        is_whole = 0 < size <= MAX_EVENT_BYTES and not draft.is_symlink()
        body = draft.read_bytes() if is_whole else b""
        try:
            _event_id(json.loads(body))
        except (ValueError, RecursionError):
            draft.unlink()
            return
        draft.rename(self._new / self._name(len(body), self.moment()))

    def prepare(self) -> None:
        """Make the directories, once a process. Raises OSError."""
        if self._ready:
            return
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in (self.root, self._tmp, self._new, self._bad):
            own_directory(directory)
        self._ready = True

    def _exists(self) -> bool:
        """Return True if the spool exists.
        Raises OSError if another user owns it, because its files are signed with our secret."""
        if not self._ready and not os.path.lexists(self._new):
            return False
        self.prepare()
        return True

    def _measure(self) -> tuple[int, int]:
        return _total(name for piece in _pieces(self._new) for name in piece)

    def _prune(self) -> None:
        files = sorted(path for path in self._bad.iterdir() if path.suffix != ".reason")
        for path in files[:-MAX_BAD]:
            path.unlink(missing_ok=True)
            path.with_name(path.name + ".reason").unlink(missing_ok=True)


def _write(path: Path, body: bytes) -> Path:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        size = os.write(descriptor, body)
        if size != len(body):
            raise OSError(errno.ENOSPC, f"{path} took {size} of {len(body)} bytes")  # noqa: TRY301
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    return path


def _read(path: Path) -> bytes:
    """Read a file of the spool.
    Raises OSError or ValueError for what no Spool has put: links, folders, pipes, huge files."""
    match = NAME.fullmatch(path.name)
    if match is None or int(match[1]) > MAX_EVENT_BYTES:
        raise ValueError("the file's name is not one that the spool gives")
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        body = os.read(descriptor, int(match[1]) + 1)
    finally:
        os.close(descriptor)
    if len(body) != int(match[1]):
        raise ValueError(f"{len(body)} bytes, not the {match[1]} that its name says")
    return body


def _event_id(event: object) -> str:
    event_id = event.get("id") if isinstance(event, dict) else None
    if isinstance(event_id, str):
        return event_id
    raise ValueError("not a JSON object with an id")


def _pieces(directory: Path) -> Iterator[list[str]]:
    """Yield the folder's names some at a time.
    A listing of 50,000 names lets the scheduler's loop run meanwhile."""
    with os.scandir(directory) as entries:
        names = (entry.name for entry in entries if not entry.name.startswith("."))
        while piece := list(islice(names, PIECE)):
            yield piece
            if len(piece) == PIECE:
                time.sleep(BREATH)


def _total(names: Iterable[str]) -> tuple[int, int]:
    sizes = [int(match[1]) for name in names if (match := NAME.fullmatch(name))]
    return len(sizes), sum(sizes)
