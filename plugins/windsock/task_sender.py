"""Sending from a task's process: at once, within a small budget, and without a thread.

The process is forked for one task and ended with `os._exit`, and Airflow commits a final failure only after
its hook has returned. So: try, and what does not go out within the budget goes out with whoever drains next.
On a worker's host that may be another task: nothing else there lives long enough.
"""

from __future__ import annotations

import logging
import time

from windsock.backoff import Backoff
from windsock.courier import Courier, Later
from windsock.spool import Spool

log = logging.getLogger("windsock.task")

LEAST_USEFUL = 0.02  # seconds: with less, an attempt would fail for want of time and blame the monitor
CATCH_UP = 50  # events of others that a hook takes along: a request that takes milliseconds


class TaskSender:
    """`budget`: seconds for all attempts of one task together."""

    def __init__(self, spool: Spool, courier: Courier, backoff: Backoff, budget: float) -> None:
        self._spool, self._courier, self._backoff = spool, courier, backoff
        self._budget = budget
        self._task = ""
        self._left = 0.0
        self._unsent: list[str] = []

    def send(self, task: str, name: str) -> None:
        """Tries to send file `name`, and what this task has put before; `task` is the task instance's id."""
        if task != self._task:
            self._task, self._left, self._unsent = task, self._budget, []
        self._unsent.append(name)
        if self._left < LEAST_USEFUL or self._backoff.wait() > 0:
            return
        ends = time.monotonic() + self._left
        try:
            self._try(ends)
        finally:
            self._left = ends - time.monotonic()

    def _try(self, ends: float) -> None:
        try:
            self._carry(self._unsent, ends)
            self._unsent = []
            self._carry(self._spool.stranded(CATCH_UP), ends)
        except Later as later:
            self._backoff.failed(later.wait)
            # This is a line in the task's own log: a monitor that is down does not belong there.
            level = logging.WARNING if later.misconfigured else logging.DEBUG
            log.log(level, "windsock: the event waits in the spool: %s", later)

    def _carry(self, names: list[str], ends: float) -> None:
        letters = [letter for name in names if (letter := self._spool.read(name))]
        if letters:
            self._courier.carry(letters, lambda: ends - time.monotonic())
            self._backoff.succeeded()
