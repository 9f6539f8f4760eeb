"""The golden events: what a hook hands over, and the event that must come of it."""

from __future__ import annotations

import builtins
import json
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_windsock.events import HOOKS
from tests.plugin.conftest import built

CONTRACT = Path(__file__).parents[1] / "contract"
GOLDEN = {path.stem: json.loads(path.read_text()) for path in sorted(CONTRACT.glob("*.json"))}
WITH_HOOK = [name for name, golden in GOLDEN.items() if golden["hook"]]
OBJECTS = ("dag_run", "task_instance", "asset", "asset_alias")


def hook_object(attributes: dict[str, Any], **more: object) -> SimpleNamespace:
    """As Airflow has it: with times in place of the file's texts."""
    values = {
        name: datetime.fromisoformat(value.replace("Z", "+00:00"))
        if isinstance(value, str) and name.endswith(("_date", "_at", "_after", "_start", "_end"))
        else value
        for name, value in attributes.items()
    }
    return SimpleNamespace(**values, **more)


def arguments(hook: dict[str, Any]) -> dict[str, Any]:
    """The hook's own arguments, in Airflow's order."""
    given: dict[str, Any] = {}
    for name, value in hook.items():
        if name == "task_instance":
            given[name] = hook_object(value, task=SimpleNamespace(task_type=hook["operator"]))
        elif name in OBJECTS:
            given[name] = hook_object(value)
        elif name == "error":
            given[name] = getattr(builtins, value["type"])(value["message"])
        elif name not in ("name", "operator"):
            given[name] = value
    return given


def test_there_are_golden_events_for_every_builder() -> None:
    assert {GOLDEN[name]["hook"]["name"] for name in WITH_HOOK} == set(HOOKS)


@pytest.mark.parametrize("name", WITH_HOOK)
def test_hook_becomes_the_golden_event(name: str) -> None:
    golden = GOLDEN[name]
    event = built(golden["hook"]["name"], "/airflow/local", *arguments(golden["hook"]).values())
    for free in ("id", "time"):
        if golden["event"][free] is None:
            assert event.pop(free)
            golden["event"].pop(free)
    assert event == golden["event"]
