"""`windsock up --once`, as `make run ARGS=--once` starts it: everything happens, and nothing is left."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.airflow_environment import ENVIRONMENT

pytestmark = pytest.mark.slow

WINDSOCK = Path(sys.executable).parent / "windsock"
SECONDS = 400  # of which an idle machine needs an eighth


def test_the_whole_of_it_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "WINDSOCK_HOME": str(home),
        "WINDSOCK_PORT": "0",
        "NOTIFICATION_EMAIL_TO": "ops@example.com",
    }
    done = subprocess.run(
        [WINDSOCK, "up", "--airflow", ENVIRONMENT, "--once", "--airflow-port", "0", "--timeout", "300"],
        env=env,
        cwd=tmp_path,  # a checkout of one's own may hold an .env with a real mail account
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout
    for said in ("sent  Airflow_Lab2 · ", "model report, accuracy", "began release", "began scoring"):
        assert said in done.stdout
    assert memory_in_mb(done.stdout) < 2_500
    assert (home / "secrets.json").stat().st_mode & 0o077 == 0
    assert (home / "windsock.db").stat().st_mode & 0o077 == 0
    assert left_of(home) == []


def memory_in_mb(said: str) -> int:
    (line,) = (line for line in said.splitlines() if line.startswith("memory"))
    return int(line.split()[1])


def left_of(home: Path) -> list[str]:
    """Processes that still work in this home."""
    found = []
    for process in psutil.process_iter():
        try:
            told = [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        if any(str(home) in one for one in told):
            found.append(" ".join(process.cmdline()))
    return found
