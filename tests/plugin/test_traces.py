"""The trace that events belong to: the same for all of a run, Airflow's own where Airflow records one."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_windsock.events import complete_event, event, report, report_with_trace, serialize
from airflow_windsock.listener import Listener
from airflow_windsock.settings import Settings, load
from airflow_windsock.traces import SAMPLED
from tests.plugin.test_golden import GOLDEN, WITH_HOOK, arguments
from tests.plugin.test_listener import hooks_of, run, task, told

OWN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


def test_all_hooks_of_a_run_share_one_trace(settings: Settings) -> None:
    quiet = replace(settings, endpoint=None, traces=True)
    hooks = hooks_of(Listener(quiet))
    hooks.on_dag_run_running(dag_run=run(), msg="")
    hooks.on_task_instance_success(previous_state="running", task_instance=task())
    hooks.on_dag_run_running(dag_run=run("other"), msg="")
    events = told(quiet)
    assert len({one["traceparent"] for one in events if one["data"]["dag_id"] == "etl"}) == 1
    assert len({one["traceparent"] for one in events}) == 2
    assert all(SAMPLED.fullmatch(one["traceparent"]) for one in events)


@pytest.mark.parametrize(
    ("carrier", "kept"),
    [
        ({"traceparent": OWN}, True),
        ({"traceparent": UNSAMPLED}, False),  # Airflow's own traces are off, or pass this run over
        ({"traceparent": 7}, False),
        ({}, False),
        (None, False),
        ("x", False),
    ],
)
def test_airflows_own_trace_goes_before(settings: Settings, carrier: Any, kept: bool) -> None:
    quiet = replace(settings, endpoint=None, traces=True)
    ti = SimpleNamespace(**vars(task()), context_carrier=carrier)
    hooks_of(Listener(quiet)).on_task_instance_success(previous_state="running", task_instance=ti)
    (one,) = told(quiet)
    assert (one["traceparent"] == OWN) is kept


def test_an_attribute_that_is_not_loaded_is_not_asked_for() -> None:
    class Lazy:
        @property
        def context_carrier(self) -> object:
            raise AssertionError("the database was asked in a hook")

    dag_run = Lazy()
    vars(dag_run).update(vars(run()))
    kept = report_with_trace("on_dag_run_running", "/airflow/local", dag_run, "")
    assert isinstance(kept, tuple)
    assert kept[3:] == ("",)


@pytest.mark.parametrize("name", WITH_HOOK)
def test_every_hook_has_a_trace_and_nothing_else_changes(name: str) -> None:
    hook = GOLDEN[name]["hook"]
    objects = list(arguments(hook).values())

    def kept(make: Any) -> dict[str, Any]:
        found = json.loads(complete_event(serialize(make(hook["name"], "/airflow/local", *objects)), 1))
        return {key: value for key, value in found.items() if key not in ("id", "time")}

    with_trace = kept(report_with_trace)
    assert SAMPLED.fullmatch(with_trace.pop("traceparent"))
    assert with_trace == kept(report)


def test_without_the_setting_there_is_no_trace(settings: Settings) -> None:
    quiet = replace(settings, endpoint=None)
    hooks_of(Listener(quiet)).on_dag_run_running(dag_run=run(), msg="")
    assert "traceparent" not in told(quiet)[0]


def test_what_an_older_plugin_left_in_its_journal_is_told() -> None:
    kept = json.loads(serialize(report("on_dag_run_running", "/airflow/local", run(), "")))
    assert len(kept) == 3
    assert "traceparent" not in event(kept, time.time_ns())


@pytest.mark.parametrize(("text", "value"), [("", False), ("on", True), ("True", True), ("off", False)])
def test_the_setting(tmp_path: Path, text: str, value: bool) -> None:
    given = {"monitor_url": "http://m", "traces": text}
    found, problems = load(lambda name: given.get(name, ""), tmp_path)
    assert found is not None
    assert found.traces is value
    assert not [one for one in problems if "traces" in one]
