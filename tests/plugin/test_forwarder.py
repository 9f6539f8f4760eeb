"""`python -m airflow_windsock.forwarder`, in a process of its own, without Airflow (-S: no site-packages at
all)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_windsock.spool import Spool
from tests.plugin.conftest import WAIT, wait_until
from tests.plugin.receiver import Receiver, status

PLUGINS = Path(__file__).parents[2] / "plugins"


@pytest.fixture
def environment(receiver: Receiver, tmp_path: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": str(PLUGINS),
        "PATH": os.environ["PATH"],
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__WINDSOCK__MONITOR_URL": receiver.url,
        "AIRFLOW__WINDSOCK__INGEST_SECRET": receiver.secret_text,
    }


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "windsock-spool", 1_000, 10_000_000)


def put(spool: Spool, *numbers: int) -> None:
    for number in numbers:
        spool.add(json.dumps({"id": f"event:{number}"}).encode())


def once(environment: dict[str, str], *python: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(python or ("-S",)), "-m", "airflow_windsock.forwarder", "--once"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_once_sends_what_is_there(environment: dict[str, str], spool: Spool, receiver: Receiver) -> None:
    assert once(environment).returncode == 0, "a spool that does not exist yet is empty"
    put(spool, *range(600))
    done = once({**environment, "AIRFLOW__WINDSOCK__SPOOL_MAX_EVENTS": "nonsense"})
    assert done.returncode == 0, done.stderr
    assert "spool_max_events is 'nonsense'" in done.stderr
    assert [len(batch) for batch in receiver.batches] == [500, 100]
    assert spool.names() == []


@pytest.mark.slow
def test_once_with_airflow_importable(environment: dict[str, str], spool: Spool, receiver: Receiver) -> None:
    put(spool, 1)
    done = once(environment, "-W", "ignore")
    assert done.returncode == 0, done.stderr
    assert receiver.ids == ["event:1"]


def test_once_fails_if_something_is_left(
    environment: dict[str, str], spool: Spool, receiver: Receiver
) -> None:
    put(spool, 1)
    receiver.script.append(status(401))
    done = once(environment)
    assert done.returncode == 1
    assert "mend ingest_secret" in done.stderr
    assert receiver.secret_text not in done.stderr
    assert len(spool.names()) == 1


def test_without_settings_it_says_what_to_set(environment: dict[str, str]) -> None:
    environment.pop("AIRFLOW__WINDSOCK__INGEST_SECRET")
    done = once(environment)
    assert done.returncode == 2
    assert "ingest_secret is not set" in done.stderr


def test_it_runs_until_sigterm(environment: dict[str, str], spool: Spool, receiver: Receiver) -> None:
    put(spool, 1)
    command = [sys.executable, "-S", "-m", "airflow_windsock.forwarder"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: receiver.ids == ["event:1"])
            put(spool, 2)
            wait_until(lambda: receiver.ids == ["event:1", "event:2"])
            process.send_signal(signal.SIGTERM)
            _, output = process.communicate(timeout=WAIT)
        finally:
            process.kill()
    assert process.returncode == 0, output
    assert output.rstrip().endswith("windsock: stopped")
