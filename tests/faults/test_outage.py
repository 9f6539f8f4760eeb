"""An hour without the monitor, compressed: 10,000 events of some hundred runs, put by long-lived processes
and by many short ones; a back-off as an hour's failures leave it. The monitor returns, its runs go on at
once, and nothing is lost and nothing out of order. How long the draining took is printed (`pytest -s`),
never asserted."""

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
DEADLINE = 240.0  # seconds; on a busy machine, and far more than is needed


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[MonitorProcess]:
    monitor = MonitorProcess(tmp_path)
    yield monitor
    monitor.stop()


def plugin_environment(monitor: MonitorProcess, spool: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(PLUGINS), **monitor.plugin_env(spool)}


class Writers:
    """Processes that put events; those that live long run until the end of the block."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._processes: list[subprocess.Popen[str]] = []

    def put(self, kind: str, processes: int = 2) -> int:
        """Starts that many side by side; gives how many events they have put together."""
        started = [
            subprocess.Popen(
                [sys.executable, WRITER, kind, str(number), str(RUNS)],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(processes)
        ]
        self._processes += started
        return sum(int(process.stdout.readline()) for process in started if process.stdout)

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *_raised: object) -> None:
        for process in self._processes:
            process.communicate("\n")
        assert [process.returncode for process in self._processes] == [0] * len(self._processes)


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
    with Writers(plugin_environment(monitor, spool)) as writers:
        count = writers.put("scheduler") + writers.put("tasks")
        assert count >= 10_000
        monitor.start()
        returned = time.monotonic()
        count += writers.put("late")
        wait.until(lambda: not any((spool / "new").iterdir()), "the spool to be empty", DEADLINE)
        taken = time.monotonic() - returned
        sys.stdout.write(f"\n{count} events drained {taken:.1f} s after the monitor's return\n")
        events = monitor.events()
    assert len({event["id"] for event in events}) == len(events) == count
    assert out_of_order(events) == {}
    assert not list((spool / "bad").iterdir())
