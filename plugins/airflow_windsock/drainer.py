"""The drainer of the spool, oldest event first, as a daemon thread or as the forwarder.

The thread runs in a long-lived Airflow process. A hook appends its event to the process's own journal and
wakes the thread. The thread moves the journal's events into the spool before it sends.

Every such process of a host may have a drainer. For each pass a lock on a file decides which of them sends.
So the process that has just kept an event usually sends it at once, and the death of any process frees the
lock.

Waking is for speed. Polling finds the events of other processes.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from airflow_windsock.backoff import Backoff
from airflow_windsock.journal import FOLDER, HEAD, PREFIX, Journal, recover
from airflow_windsock.lock import TURN, FileLock
from airflow_windsock.log_limit import LogLimit
from airflow_windsock.sender import Later, Sender, batches
from airflow_windsock.spool import Spool, SpooledEvent

log = logging.getLogger("airflow_windsock.drainer")

POLL_EVERY = 1.0  # seconds: events of other processes wait no longer. An empty listing costs microseconds
BUSY_AGAIN = 0.05  # seconds: another process drains just now, and may have listed before our event was put
GAP = 0.04  # seconds from being woken to the pass: hooks go first, and a burst goes out in one request
RECOVER_EVERY = 10.0  # seconds: how late, at most, the events of a process that died are taken up
LAST_TURN = 0.25  # seconds: handing over takes milliseconds, and a hanging request must not hold up an exit
BROKEN_AGAIN = 5.0  # seconds, after an error of the disk or of our own
REQUEST_SECONDS = 10.0  # for one request: the monitor answers in milliseconds, or is in trouble
PROBE_SECONDS = 3.0  # for the first request after a failure,
PROBE = 10  # events: a small request soon shows whether the monitor is back
PASS = 5_000  # events, after which the spool is listed and counted anew
THREAD_BATCH = 100  # events a request from a thread: it shares the GIL with the scheduler's loop
# An event that a living process still holds in its journal may be older than what others have put into the
# spool, and of the same run.
HELD_AT_MOST = 5.0  # seconds: a stopped process, or one with a broken disk, must not hold up others


def horizon(root: Path) -> str | None:
    """Return the least of the names that must still wait, or None if all may be sent. Raises OSError."""
    folder = root / FOLDER
    too_old = f"{time.time_ns() - int(HELD_AT_MOST * 1e9):020d}"
    held = [_first_held(path) for path in folder.iterdir()] if folder.is_dir() else []
    return min((moment for moment in held if moment is not None and moment > too_old), default=None)


def _first_held(path: Path) -> str | None:
    """Return the moment of the first line that the spool lacks, or None for a file that is no journal.
    The recovery of journals logs what is wrong with such a file."""
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


class Drainer:
    """The thread that sends the spool's events to the monitor.
    `wake` starts a thread if none runs. A forked child inherits no thread and starts its own."""

    def __init__(self, spool: Spool, sender: Sender, backoff: Backoff, batch: int = THREAD_BATCH) -> None:
        self._spool, self._sender, self._backoff = spool, sender, backoff
        self._journal = Journal(spool)
        self._batch = batch
        self._limit = LogLimit()
        self._lock = FileLock(spool.root / TURN)
        self._thread: threading.Thread | None = None
        self._recovered = float("-inf")
        self._forget_parent()
        reference = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _reset_after_fork(reference))

    def add(self, body: bytes) -> None:
        """Keep one event for the thread to send. Hooks call this. Raises as Spool.add does."""
        self._journal.append(body)
        if self._asleep.locked():
            self.wake()

    def wake(self) -> None:
        """Wake the thread, from a hook: no I/O, and at most once the start of a thread."""
        if self._thread is None:
            with self._starting:
                self._start()
        with suppress(RuntimeError):  # it is awake, and will look again
            self._asleep.release()

    def run(self) -> None:
        """Drain the spool until `stop`."""
        while not self._stopping.is_set():
            pause = self._run_pass()
            self._sleep(pause)
            self._stopping.wait(GAP)
            self._sleep(0.0)

    def stop(self) -> None:
        """Make `run` return after the request that is on its way."""
        self._stopping.set()
        with suppress(RuntimeError):
            self._asleep.release()

    def drain_once(self) -> bool:
        """Send everything in the spool, whatever the back-off says.
        Return True if nothing is left. Raises Later and OSError."""
        self._recover()
        while self._spool.names(1) and not self._stopping.is_set():
            with self._lock.acquire() as has_lock:
                names, held = self._sendable() if has_lock else ([], True)
                more = self._send(names)
            if held:
                self._sleep(BUSY_AGAIN)
            elif not more:
                break
        return not self._spool.names(1)

    def _run_pass(self) -> float:
        """Make one pass and return the seconds until the next.
        No error ends the loop. An error is logged once a minute."""
        self._on_disk(self._gather)
        try:
            return self._backoff.wait() or self._pass_or_back_off()
        except Exception:
            if self._limit.allows("pass"):
                log.exception("windsock: the spool cannot be drained; trying again in %s s", BROKEN_AGAIN)
            return BROKEN_AGAIN

    def _on_disk(self, action: Callable[[], None]) -> None:
        """Run an action on the disk and log its error.
        Sending must go on, because it makes room on a full disk."""
        try:
            action()
        except Exception:
            if self._limit.allows("disk"):
                log.exception("windsock: events stay in the journals; trying again")

    def _gather(self) -> None:
        """Move what hooks have appended into the spool, and now and then what dead processes have left."""
        self._journal.hand_over()
        if time.monotonic() - self._recovered > RECOVER_EVERY:
            self._recovered = time.monotonic()
            self._recover()

    def _recover(self) -> None:
        self._spool.recover()
        recover(self._spool)

    def _pass_or_back_off(self) -> float:
        try:
            return self._pass()
        except Later as later:
            if self._limit.allows(str(later)[:40]):
                say = log.error if later.misconfigured else log.warning
                say("windsock: events stay in the spool: %s", later)
            return self._backoff.record_failure(later.wait)

    def _pass(self) -> float:
        """Send what may be sent, if the lock is free.
        Return the seconds until the next pass. The next pass comes soon after anything was sent, because a
        task leaves its event to the process that holds the lock."""
        if not self._spool.names(1):
            return POLL_EVERY
        with self._lock.acquire() as has_lock:
            if not has_lock:
                return BUSY_AGAIN
            names, held = self._sendable()
            more = self._send(names)
        return 0.0 if more else BUSY_AGAIN if names or held else POLL_EVERY

    def _sendable(self) -> tuple[list[str], bool]:
        """Return the names that may be sent, oldest first, and whether some must wait for older events."""
        before = horizon(self._spool.root)  # before the listing: what leaves a journal is in it
        names = self._spool.names(PASS + 1)
        if before is None or not names or names[-1] < before:
            return names, False
        return [name for name in names if name < before], True

    def _send(self, names: list[str]) -> bool:
        """Send the first of the events. Return True if more wait."""
        most, seconds = (PROBE, PROBE_SECONDS) if self._backoff.failing() else (PASS, REQUEST_SECONDS)
        for batch in batches(islice(self._letters(names), most), self._batch):
            self._sender.send(batch, lambda: seconds)
            self._backoff.record_success()
            if self._stopping.is_set():
                break
        return len(names) > most

    def _letters(self, names: list[str]) -> Iterator[SpooledEvent]:
        for name in names:
            try:
                event = self._spool.read(name)
            except OSError:  # neither to be read nor to be moved away: it must not hold up the others
                if self._limit.allows("stuck"):
                    log.exception("windsock: %s stays in %s; remove it by hand", name, self._spool.root)
                continue
            if event is not None:
                yield event

    def _sleep(self, seconds: float) -> None:
        """Sleep until `wake` or until the time is over. A wake-up from before this moment is forgotten."""
        self._asleep.acquire(timeout=seconds)

    def _start(self) -> None:
        if self._thread is not None:  # another thread of this process was faster
            return
        self._thread = threading.Thread(target=self._live, name="windsock-drainer", daemon=True)
        try:
            self._thread.start()
        except BaseException:  # no more threads: the next event tries again
            self._thread = None
            raise
        atexit.register(self._end)

    def _live(self) -> None:
        """Run the thread's whole life. Its process has a journal."""
        try:
            self._on_disk(self._journal.prepare)
            self.run()
            self._on_disk(self._journal.close)
        finally:  # the next event starts another
            self._thread = None
            self._sleep(0.0)

    def _end(self) -> None:
        self.stop()
        thread = self._thread
        if thread is not None:
            thread.join(LAST_TURN)

    def _forget_parent(self) -> None:
        """Forget the parent's thread and locks.
        A child has its parent's memory but not its threads, so nothing that a thread might hold may stay."""
        self._thread = None
        self._starting = threading.Lock()
        self._asleep = (
            threading.Lock()
        )  # an Event whose calls are C's: held while nothing has woken the thread
        self._asleep.acquire()
        self._stopping = threading.Event()
        self._journal.forget()
        self._lock.forget()


def _reset_after_fork(reference: weakref.ref[Drainer]) -> None:
    drainer = reference()
    if drainer is not None:
        drainer._forget_parent()
