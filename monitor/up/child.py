"""`python -m monitor.up.child SECONDS COMMAND…`: one component and everything that it starts, as one thing.

It ends with the command. It ends the command when it is told to (SIGTERM) and when its standard input
closes, which is how it learns that `windsock up` is gone, SIGKILL included. In each case nothing of what the
command started is left: on Linux orphans of any depth and session become children of this process
(PR_SET_CHILD_SUBREAPER), elsewhere those that left their parent escape.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time

import psutil  # type: ignore[import-untyped]

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
PR_SET_CHILD_SUBREAPER = 36
ON_LINUX = sys.platform == "linux"
POLL_SECONDS = 0.1  # while stopping only: grandchildren end without a signal to us
KILL_SECONDS = 5.0  # a killed process is gone at once, unless the kernel holds it in a disk's queue
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def adopt_orphans() -> None:
    """Make this process the parent of all orphans below it."""
    if ON_LINUX:
        _prctl(PR_SET_CHILD_SUBREAPER, 1)


def descendants() -> list[psutil.Process]:
    """Everything alive below this process."""
    alive = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process)
        except psutil.NoSuchProcess:
            continue
    return alive


def kill_descendants() -> bool:
    """SIGKILL until nothing is left below; what forks meanwhile is found in the next round."""
    deadline = time.monotonic() + KILL_SECONDS
    while alive := descendants():
        if time.monotonic() > deadline:
            return False
        for process in alive:
            _signal(process, signal.SIGKILL)
        time.sleep(POLL_SECONDS / 10)
    return True


def main() -> int:
    """The command's exit status, 128 + the signal's number if a signal ended it."""
    grace, command = float(sys.argv[1]), sys.argv[2:]
    adopt_orphans()
    wake = _wake_on_signals()
    try:
        main_pid = _start(command)
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201 (into its log)
        return 127
    status = _wait(main_pid, wake)
    deadline = time.monotonic() + grace
    while status is None and time.monotonic() < deadline:
        status = _reap().get(main_pid)
        time.sleep(0 if status is not None else POLL_SECONDS)
    _end_the_rest(deadline)
    return 128 + signal.SIGKILL if status is None else status


def _start(command: list[str]) -> int:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_end_with_parent,  # noqa: PLW1509 (this process has one thread)
    )
    process.returncode = 0  # waited for by `_reap`, not by the module
    return process.pid


def _end_with_parent() -> None:
    signal.set_wakeup_fd(-1)
    if ON_LINUX:  # where this process is killed before it can end the command
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait(main_pid: int, wake: int) -> int | None:
    """Until the command has ended (its status), or has been told to end (None)."""
    while True:
        readable, _, _ = select.select([sys.stdin, wake], [], [])
        signals = os.read(wake, 4096) if wake in readable else b""
        status = _reap().get(main_pid)
        if status is not None:
            return status
        if sys.stdin in readable or any(number in signals for number in STOP_SIGNALS):
            os.kill(main_pid, signal.SIGTERM)  # it is not reaped yet, so the id is still its own
            return None


def _end_the_rest(deadline: float) -> None:
    for process in descendants():
        _signal(process, signal.SIGTERM)
    while descendants() and time.monotonic() < deadline:
        _reap()
        time.sleep(POLL_SECONDS)
    kill_descendants()
    _reap()


def _reap() -> dict[int, int]:
    """The exit statuses of the children that have ended since, orphans that became ours among them."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if not pid:
            return ended
        code = os.waitstatus_to_exitcode(status)
        ended[pid] = 128 - code if code < 0 else code


def _wake_on_signals() -> int:
    """A file descriptor that becomes readable, with the signals' numbers, when one arrives."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (*STOP_SIGNALS, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return reader


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    sys.exit(main())
