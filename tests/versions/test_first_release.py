"""Old plugins with this monitor, and this plugin with the first monitor: real programs on both sides."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.monitor_process import REPOSITORY, MonitorProcess
from tests.versions.old import BEFORE_THE_NAMES, FIRST, FirstMonitor, logged_as, release_of, send

WIRE = REPOSITORY / "tests/versions/wire"


def lasting(events: Path) -> set[str]:
    return {event["id"] for event in _lasting(events)}


def logged(events: Path) -> set[str]:
    return {logged_as(event) for event in _lasting(events)}


def _lasting(events: Path) -> list[Any]:
    return [event for event in json.loads(events.read_text()) if event["type"] != "windsock.asset.nudge"]


@pytest.mark.parametrize(
    ("commit", "wire"), [(FIRST, "2026-11-22.json"), (BEFORE_THE_NAMES, "2026-11-25.json")]
)
def test_an_old_plugin_reports_to_this_monitor(tmp_path: Path, commit: str, wire: str) -> None:
    release, events = release_of(commit, tmp_path / "old"), WIRE / wire
    monitor = MonitorProcess(tmp_path).start()
    try:
        assert send(release / "plugins", events, tmp_path / "spool", monitor) == []
        assert {event["id"] for event in monitor.events()} == logged(events)
        # And once more, as after an answer that was lost.
        assert send(release / "plugins", events, tmp_path / "spool", monitor) == []
        assert {event["id"] for event in monitor.events()} == logged(events)
    finally:
        monitor.stop()


def test_this_plugin_reports_to_the_first_monitor(tmp_path: Path) -> None:
    """What this plugin adds (`traceparent`, the header `windsock-spool`) is kept, or passed over."""
    release, events = release_of(FIRST, tmp_path / "first"), WIRE / "2026-11-25.json"
    monitor = FirstMonitor(tmp_path, release).start()
    try:
        assert send(REPOSITORY / "plugins", events, tmp_path / "spool", monitor) == []
        told = monitor.events()
        assert {event["id"] for event in told} == lasting(events)
        assert all("traceparent" in event for event in told)
    finally:
        monitor.stop()
