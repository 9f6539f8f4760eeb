"""The journal: a long-lived process's own file of reports, on their way into the spool.

Appending a line to an open file costs a hook some ten microseconds. Creating a file costs up to a
millisecond and more.

Hooks append lines. The drainer's thread makes the event of each line and puts it into the spool, with the
line's own time. The first line says how far the thread has come.

The writer holds a lock on the file as long as it lives. A free lock shows a recovering process that the
writer is dead. A death between the put and the note sends an event twice, and the monitor recognizes its id.
Nothing is flushed to the disk, as in the spool.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import get_ident

from airflow_windsock.events import complete_event
from airflow_windsock.held_write import PWrite, find_gil_holding_pwrite, pwrite_releasing_gil
from airflow_windsock.log_limit import LogLimit
from airflow_windsock.own_directory import own_directory
from airflow_windsock.spool import MAX_EVENT_BYTES, Spool

log = logging.getLogger("airflow_windsock.journal")

FOLDER = "journals"
HEAD = 21  # bytes of the first line: the position, twenty digits, of the first line that the spool lacks
PREFIX = 21  # bytes before each event: its moment, twenty digits of nanoseconds, and a space
READ = 2 * MAX_EVENT_BYTES  # bytes at once: room for one line at least, whatever its length
SHRINK_ABOVE = 4 * 1024 * 1024  # bytes. An idle journal is emptied anyway. This bounds one that never rests
LOCK_WAIT = 0.05  # seconds: others hold the lock for one write, so a longer wait means a disk in trouble


class Journal:
    """The file that keeps a process's reports until they are in the spool.
    Each process has one, made with its first event or by its thread. Any thread may call `append`. All else
    is for the thread that drains, and `forget` is for a forked child."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._limit = LogLimit()
        self._path = spool.root
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._size = self._taken = HEAD  # bytes written, and of these the ones that the spool has
        self._appended = self._handed = 0  # events: each number is written by one side only
        self._main: int | None = None
        self._held_pwrite: PWrite = pwrite_releasing_gil

    def append(self, report: bytes) -> None:
        """Keep one report or event, in a file of its own if no journal can be made.
        Raises as Spool.add does."""
        lock, spool = self._lock, self._spool
        if lock.acquire(True, LOCK_WAIT):
            try:
                descriptor = self._descriptor or self._open()
                if descriptor is not None:
                    spool.admit(len(report), self._appended - self._handed, self._size - self._taken)
                    self._write(descriptor, b"%020d %b\n" % (spool.moment(), report))
                    return
            finally:
                lock.release()
        spool.add(complete_event(report, time.time_ns()))

    def prepare(self) -> None:
        """Make the file, so that no hook has to."""
        with self._lock:
            self._open()

    def hand_over(self) -> None:
        """Move what was appended into the spool. Raises OSError, and then the rest stays in the journal."""
        if self._descriptor is None:
            return
        self._spool.look()
        if self._taken == self._size:
            self._shrink()
        while self._taken < self._size:
            for position in _move_to_spool(self._spool, self._descriptor, self._taken, self._size):
                self._taken = position
                self._handed += 1
        if self._size > SHRINK_ABOVE:
            self._shrink()

    def close(self) -> None:
        """Remove the file, because the process ends.
        Raises OSError, and then another process recovers the file."""
        self.hand_over()
        with self._lock:
            if self._descriptor is not None and self._taken == self._size:
                self._path.unlink(missing_ok=True)
                self._drop()

    def forget(self) -> None:
        """Forget the parent's journal, in a forked child.
        A child has its parent's memory and descriptors, but not its threads. So every lock that a thread
        held is made anew, and closing leaves the parent its file's lock."""
        self._lock = threading.Lock()
        self._appended = self._handed = 0
        self._drop()

    def _drop(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None
        self._size = self._taken = HEAD

    def _open(self) -> int | None:
        if self._descriptor is None:
            try:
                self._path, self._descriptor = _make(self._spool)
                self._main, self._held_pwrite = threading.main_thread().ident, find_gil_holding_pwrite()
            except OSError as error:
                if self._limit.allows("journal"):
                    log.warning(
                        "windsock: each event takes a file of its own, for want of a journal: %s", error
                    )
        return self._descriptor

    def _write(self, descriptor: int, line: bytes) -> None:
        """Write one line at the journal's end.
        Only a whole line moves the end, so the next line overwrites one that failed half-way. The main
        thread (a scheduler's loop, a parse) keeps the GIL. Of an api-server's requests only one waits for a
        slow disk, not all."""
        size = len(line)
        try:
            count = self._held_pwrite(descriptor, line, size, self._size) if get_ident() == self._main else -1
            if count < 0:  # or os.pwrite raises the error
                count = os.pwrite(descriptor, line, self._size)
            if count != size:
                raise OSError(errno.ENOSPC, f"the journal took {count} of {size} bytes")  # noqa: TRY301
        except OSError:
            self._spool.refused.add()
            with suppress(OSError):  # tidy, and not needed: see above
                os.ftruncate(descriptor, self._size)
            raise
        self._appended += 1
        self._size += size

    def _shrink(self) -> None:
        if self._taken == HEAD:
            return
        with self._lock:
            if self._descriptor is not None and self._taken == self._size:
                os.ftruncate(self._descriptor, HEAD)
                self._size = self._taken = HEAD
                _note(self._descriptor, HEAD)


def recover(spool: Spool) -> None:
    """Put what dead writers have left into the spool.
    A line that is not whole is put there too, and its reader sets it aside with the reason. Raises the last
    OSError, after all the other journals are done."""
    folder = spool.root / FOLDER
    failed: OSError | None = None
    if not os.path.lexists(folder):
        return
    spool.prepare()
    own_directory(folder)
    for path in sorted(folder.iterdir()):
        try:
            _recover(spool, path)
        except OSError as error:
            failed = error
    if failed is not None:
        raise failed


def _recover(spool: Spool, path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:  # another recovers too, and was faster
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        head = os.pread(descriptor, HEAD - 1, 0)
        start = int(head) if head.isdigit() else 0
        count = sum(1 for _ in _move_to_spool(spool, descriptor, start, os.fstat(descriptor).st_size))
        path.unlink(missing_ok=True)
    except BlockingIOError:  # its writer lives, or another recovers it
        return
    finally:
        os.close(descriptor)
    if count:
        log.info("windsock: the spool has %d events of a process that died", count)


def _make(spool: Spool) -> tuple[Path, int]:
    """Make a journal that is locked from the moment other processes can see it. Raises OSError."""
    spool.prepare()
    own_directory(spool.root / FOLDER)
    name = f"{time.time_ns():020d}-{os.getpid()}-{os.urandom(4).hex()}.journal"
    draft = spool.root / "tmp" / name
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _note(descriptor, HEAD)
        return draft.rename(spool.root / FOLDER / name), descriptor
    except OSError:
        os.close(descriptor)
        draft.unlink(missing_ok=True)
        raise


def _note(descriptor: int, position: int) -> None:
    os.pwrite(descriptor, b"%020d\n" % position, 0)


def _move_to_spool(spool: Spool, descriptor: int, start: int, end: int) -> Iterator[int]:
    """Put the lines from `start` to `end` into the spool.
    Yields the position behind each line and notes the last position. Raises OSError."""
    position = start
    try:
        while position < end:
            data = os.pread(descriptor, min(READ, end - position), position)
            if not data:
                raise OSError(errno.EIO, "the journal is shorter than what was written to it")
            whole = data[: data.rfind(b"\n") + 1]
            for line in whole.splitlines(keepends=True) or [data]:  # the last one may be torn
                _store_line(spool, line)
                position += len(line)
                yield position
    finally:
        _note(descriptor, position)


def _store_line(spool: Spool, line: bytes) -> None:
    """Store one line under its moment.
    A line without a moment gets the present one, and its reader sets it aside."""
    line = line.removesuffix(b"\n")
    moment = line[: PREFIX - 1]
    if len(moment) == PREFIX - 1 and moment.isdigit() and line[PREFIX - 1 : PREFIX] == b" ":
        spool.store(complete_event(line[PREFIX:], int(moment)), int(moment))
    else:
        spool.store(line, spool.moment())
