"""The sending of events from a task's process: at once, within a small budget, and without a thread.

The process is forked for one task and ends with `os._exit`. Airflow commits a final failure only after its
hook has returned. So the hook sends within the budget, and the rest is left to the next process that drains.
On a worker's host that may be another task, because nothing else lives long enough on that host.

Older events go first, so the events of a run stay in order, whichever process sends them."""

from __future__ import annotations

import logging
import time

from airflow_windsock.backoff import Backoff
from airflow_windsock.drainer import horizon
from airflow_windsock.lock import TURN, FileLock
from airflow_windsock.sender import Later, Sender
from airflow_windsock.spool import Spool

log = logging.getLogger("airflow_windsock.task")

LEAST_USEFUL = 0.02  # seconds: with less, an attempt would fail for want of time and blame the monitor
PROBE_SECONDS = 0.25  # for the first attempt after a failure: a monitor that is back answers in milliseconds
TURN_WAIT = 0.05  # seconds: another process's request takes milliseconds, or is in trouble
CATCH_UP = 50  # events: a request that takes milliseconds


class TaskSender:
    """The sender in a task's process. `budget` is the seconds for all attempts of one task together."""

    def __init__(self, spool: Spool, sender: Sender, backoff: Backoff, budget: float) -> None:
        self._spool, self._sender, self._backoff = spool, sender, backoff
        self._lock = FileLock(spool.root / TURN)
        self._budget = budget
        self._task = ""
        self._left = 0.0

    def send(self, task: str, name: str) -> None:
        """Try to send the file `name` and older files. `task` is the task instance's id."""
        if task != self._task:
            self._task, self._left = task, self._budget
        if self._left < LEAST_USEFUL or self._backoff.wait() > 0:
            return
        started = time.monotonic()
        most = min(self._left, PROBE_SECONDS) if self._backoff.failing() else self._left
        try:
            self._try(name, started + most)
        finally:
            self._left -= time.monotonic() - started

    def _try(self, name: str, ends: float) -> None:
        with self._lock.acquire(min(TURN_WAIT, ends - time.monotonic())) as has_lock:
            if not has_lock:  # the holder looks again, and finds this event too
                return
            try:
                self._send_files(self._due(name), ends)
            except Later as later:
                self._backoff.record_failure(later.wait)
                # This is a line in the task's own log: a monitor that is down does not belong there.
                level = logging.WARNING if later.misconfigured else logging.DEBUG
                log.log(level, "windsock: the event waits in the spool: %s", later)

    def _due(self, name: str) -> list[str]:
        """Return the names up to `name`, oldest first.
        Younger events are left to their own writers. The list is empty if a living process holds an older
        event, because that process sends both in a moment."""
        before = horizon(self._spool.root)
        if before is not None and before < name:
            return []
        return [other for other in self._spool.names(CATCH_UP) if other <= name]

    def _send_files(self, names: list[str], ends: float) -> None:
        events = [event for name in names if (event := self._spool.read(name))]
        if events:
            self._sender.send(events, lambda: ends - time.monotonic())
            self._backoff.record_success()
