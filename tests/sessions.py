"""Child processes that surely end: each leads a session of its own, which is killed as a whole.

A process that forks, changes its group and orphans its children (Airflow does all three) stays in its
session. Should this process itself be killed, a watchdog ends every session that it was told of.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil


class Sessions:
    """Named child processes."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._orphaned: list[int] = []
        self._watchdog: subprocess.Popen[bytes] | None = None

    def start(
        self, name: str, command: Sequence[str | Path], env: Mapping[str, str], cwd: Path, log: Path
    ) -> None:
        """Start a process; its output is appended to `log`."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running[name] = process
        self._guard(process.pid)

    def names(self) -> list[str]:
        return list(self._running)

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def ended(self) -> dict[str, int]:
        """The exit codes of those that ended although nobody ended them."""
        codes = {name: process.poll() for name, process in self._running.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def kill(self, name: str, whole_session: bool = True) -> None:
        """SIGKILL a process and all that it started, or it alone: its children live on, until kill_orphans()
        or stop()."""
        process = self._running.pop(name)
        process.kill()
        process.wait()
        if whole_session:
            kill_session(process.pid)
        else:
            self._orphaned.append(process.pid)

    def stop(self, grace: float) -> None:
        """Ask all to end, wait up to `grace` seconds for each, and kill what is left of every session."""
        for process in self._running.values():
            process.terminate()
        for name, process in list(self._running.items()):
            try:
                process.wait(grace)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            kill_session(process.pid)
            del self._running[name]
        self.kill_orphans()
        self._dismiss()

    def kill_orphans(self) -> None:
        """SIGKILL what lives on of processes that were killed alone."""
        while self._orphaned:
            kill_session(self._orphaned.pop())

    def _guard(self, session: int) -> None:
        if self._watchdog is None:
            self._watchdog = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, bufsize=0, start_new_session=True
            )
        assert self._watchdog.stdin is not None
        self._watchdog.stdin.write(f"{session}\n".encode())

    def _dismiss(self) -> None:
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.kill()
            self._watchdog.stdin.close()
            self._watchdog.wait()
            self._watchdog = None


def kill_session(session: int) -> None:
    """SIGKILL every process of a session."""
    for pid in psutil.pids():
        try:
            if os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def _watch() -> None:
    """The watchdog: reads sessions, one a line, until its parent's death closes the pipe; ends them all."""
    for session in sys.stdin.read().split():
        kill_session(int(session))


if __name__ == "__main__":
    _watch()
