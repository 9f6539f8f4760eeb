"""An hour without the monitor, compressed: 10,000 events of some hundred runs, put by long-lived processes
and by many short ones; a back-off as an hour's failures leave it. The monitor returns, and nothing is lost
and nothing out of order. How long the draining took is printed (`pytest -s`), never asserted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import wait
from tests.monitor_process import MonitorProcess

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
WRITER = Path(__file__).with_name("outage_writer.py")
RUNS = 400
SCHEDULERS = 2
TASK_HOSTS = 2
DEADLINE = 240.0  # seconds; on a busy machine, and far more than is needed


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[MonitorProcess]:
    monitor = MonitorProcess(tmp_path)
    yield monitor
    monitor.stop()


def plugin_environment(monitor: MonitorProcess, spool: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(PLUGINS), **monitor.plugin_env(spool)}


def events_of_an_hour(environment: dict[str, str]) -> tuple[list[subprocess.Popen[str]], int]:
    """Processes that have put everything, of which those that live long still run; and how many events."""
    arguments = [("scheduler", number) for number in range(SCHEDULERS)]
    arguments += [("tasks", number) for number in range(TASK_HOSTS)]
    processes = [
        subprocess.Popen(
            [sys.executable, WRITER, kind, str(number), str(RUNS)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for kind, number in arguments
    ]
    count = 0
    for process in processes:
        assert process.stdout is not None
        count += int(process.stdout.readline())
    return processes, count


def out_of_order(events: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Runs whose events were logged in another order than their hooks'."""
    told: dict[str, list[int]] = defaultdict(list)
    for event in events:
        told[event["data"]["run_id"]].append(event["data"]["try_number"])
    return {run: steps for run, steps in told.items() if steps != sorted(steps)}


@pytest.mark.slow
def test_an_hour_s_outage_loses_nothing_and_keeps_the_order(monitor: MonitorProcess, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir(mode=0o700)
    (spool / "backoff").write_text(json.dumps({"failures": 450, "until": time.time() + 8.0}))
    processes, count = events_of_an_hour(plugin_environment(monitor, spool))
    assert count >= 10_000
    try:
        monitor.start()
        returned = time.monotonic()
        wait.until(lambda: not any((spool / "new").iterdir()), "the spool to be empty", DEADLINE)
        taken = time.monotonic() - returned
        sys.stdout.write(f"\n{count} events drained {taken:.1f} s after the monitor's return\n")
        events = monitor.events()
    finally:
        for process in processes:
            process.communicate("\n")
    assert [process.returncode for process in processes] == [0] * len(processes)
    assert len({event["id"] for event in events}) == len(events) == count
    assert out_of_order(events) == {}
    assert not list((spool / "bad").iterdir())
