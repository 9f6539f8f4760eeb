"""Which processes there are to kill below an Airflow scheduler with the LocalExecutor.

scheduler → executor's worker, which supervises one task at a time → the task. Only a worker that has a task
is a victim: one that waits holds the lock of the executor's queue, and its death would stop all the others
for ever, which is a trait of Python's multiprocessing and says nothing about anybody here.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class RunningTask:
    supervisor: psutil.Process
    task: psutil.Process


def running_tasks(scheduler: int) -> list[RunningTask]:
    """The tasks that run at this moment, the oldest first."""
    with suppress(psutil.NoSuchProcess):
        found = list(_below(psutil.Process(scheduler)))
        return sorted(found, key=lambda running: running.task.pid)
    return []


def _below(scheduler: psutil.Process) -> Iterator[RunningTask]:
    for worker in scheduler.children():
        with suppress(psutil.NoSuchProcess):
            yield from (RunningTask(worker, task) for task in worker.children())


def kill(*victims: psutil.Process) -> bool:
    """SIGKILL all of them; False where one was gone already. psutil does not kill a pid's next owner."""
    struck = True
    for victim in victims:
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            struck = False
    return struck


def has_ended(pid: int) -> bool:
    """Whether a child of this process runs no longer; it may still wait to be reaped."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
