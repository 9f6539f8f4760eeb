"""The hooks, called through Airflow's own listener manager and specifications."""

from __future__ import annotations

import json
import logging
import threading
import uuid
from dataclasses import replace
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow._shared.listeners.listener import ListenerManager
from airflow._shared.listeners.spec import lifecycle, taskinstance
from airflow.listeners.spec import asset, dagrun, importerrors

from airflow_windsock.events import HOOKS
from airflow_windsock.listener import Listener, is_in_task_process
from airflow_windsock.settings import Settings
from airflow_windsock.spool import Spool
from tests.plugin.receiver import Receiver

SPECS = (lifecycle, dagrun, taskinstance, asset, importerrors)


@pytest.fixture
def quiet(settings: Settings) -> Settings:
    """Keeps events and sends none."""
    return replace(settings, endpoint=None)


def hooks_of(listener: Listener) -> Any:
    manager: Any = ListenerManager()  # type: ignore[no-untyped-call]
    for spec in SPECS:
        manager.add_hookspecs(spec)
    manager.add_listener(listener)
    return manager.hook


def told(settings: Settings) -> list[dict[str, Any]]:
    spool = Spool(settings.spool_dir, 1_000, 10_000_000)
    return [json.loads(letter.body) for name in spool.names() if (letter := spool.read(name))]


def run(dag_id: str = "etl") -> SimpleNamespace:
    return SimpleNamespace(dag_id=dag_id, run_id="r", start_date=datetime(2026, 11, 22, tzinfo=timezone.utc))


def task(dag_id: str = "etl", state: str = "failed") -> SimpleNamespace:
    return SimpleNamespace(dag_id=dag_id, run_id="r", task_id="t", try_number=1, id=uuid.uuid4(), state=state)


MODEL = SimpleNamespace(name="model", uri="file:///model", group="asset")
SCALER = SimpleNamespace(name="scaler", uri="file:///scaler", group="asset")


def test_every_hook_that_airflow_has_is_implemented() -> None:
    specified = {name for spec in SPECS for name in vars(spec) if name.startswith(("on_", "before_"))}
    assert specified - {"before_stopping"} <= set(dir(Listener))
    assert set(HOOKS) <= specified


def test_every_hook_puts_one_event(quiet: Settings) -> None:
    hook = hooks_of(Listener(quiet))
    for state in ("running", "success", "failed"):
        getattr(hook, f"on_dag_run_{state}")(dag_run=run(), msg="")
    for state in ("running", "success", "skipped"):
        getattr(hook, f"on_task_instance_{state}")(previous_state="queued", task_instance=task())
    hook.on_task_instance_failed(previous_state="running", task_instance=task(), error=ValueError("no"))
    hook.on_asset_created(asset=MODEL)
    hook.on_asset_alias_created(asset_alias=MODEL)
    hook.on_asset_changed(asset=MODEL)
    hook.on_new_dag_import_error(filename="f.py", stacktrace="broken")
    hook.on_existing_dag_import_error(filename="f.py", stacktrace="broken")
    assert [event["type"].split(".", 1)[1] for event in told(quiet)] == [
        *("dag_run.running", "dag_run.success", "dag_run.failed"),
        *("task_instance.running", "task_instance.success", "task_instance.skipped", "task_instance.failed"),
        *("asset.created", "asset_alias.created", "asset.nudge"),
        *("dag.import_error", "dag.import_error"),
    ]
    assert {event["source"] for event in told(quiet)} == {"/airflow/local"}


def test_one_change_of_an_asset_is_one_nudge(quiet: Settings) -> None:
    hook = hooks_of(Listener(quiet))
    for changed in (MODEL, SCALER, MODEL):
        hook.on_asset_changed(asset=changed)
        hook.on_asset_event_emitted(asset_event=SimpleNamespace(asset=changed))
    assert [event["subject"] for event in told(quiet)] == [MODEL.uri, SCALER.uri, MODEL.uri]
    hook.on_asset_event_emitted(asset_event=SimpleNamespace(asset=MODEL))
    assert len(told(quiet)) == 4, "an event without a change nudges too"


def test_globs_choose_the_dags(quiet: Settings) -> None:
    hook = hooks_of(Listener(replace(quiet, include=("etl*", "ml_?"), exclude=("*_tmp",))))
    for dag_id in ("etl", "etl_tmp", "ml_1", "ml_12", "other", "etl\n"):
        hook.on_dag_run_success(dag_run=run(dag_id), msg="")
        hook.on_task_instance_success(previous_state=None, task_instance=task(dag_id))
    hook.on_asset_changed(asset=MODEL)
    chosen = ["etl", "etl", "ml_1", "ml_1", "etl\n", "etl\n"]
    assert [event["data"].get("dag_id") for event in told(quiet)] == [*chosen, None]


def test_no_exception_leaves_a_hook(quiet: Settings, caplog: pytest.LogCaptureFixture) -> None:
    listener = Listener(quiet)
    hook = hooks_of(listener)
    hook.on_asset_created(asset=MODEL)
    with caplog.at_level(logging.ERROR, logger="airflow_windsock"):
        for _ in range(3):
            hook.on_dag_run_success(dag_run=object(), msg="")
            hook.on_task_instance_failed(previous_state=1, task_instance=task(state="running"), error=None)
            hook.on_asset_event_emitted(asset_event=None)
    assert int(listener.failed) == 9
    assert len(told(quiet)) == 1
    assert "was not reported" in caplog.text
    assert len(caplog.records) == 2, "each kind of error once a minute"


def test_what_failed_is_counted_for_all_processes(quiet: Settings) -> None:
    listener = Listener(quiet)
    hook = hooks_of(listener)
    hook.on_asset_created(asset=MODEL)
    hook.on_asset_created(asset=None)
    assert int(Listener(quiet).failed) == 1


def test_a_signal_s_exit_is_not_swallowed(quiet: Settings) -> None:
    class Interrupted:
        @property
        def dag_id(self) -> str:
            raise SystemExit(0)

    with pytest.raises(SystemExit):
        hooks_of(Listener(quiet)).on_dag_run_success(dag_run=Interrupted(), msg="")


def test_a_full_spool_and_a_spool_that_cannot_be_made_are_logged(
    quiet: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    full = hooks_of(Listener(replace(quiet, max_events=1)))
    for number in range(4):
        full.on_asset_created(asset=SimpleNamespace(name=str(number), uri="u"))
    assert "refused so far: 1" in caplog.text
    assert len(caplog.records) == 1
    (quiet.spool_dir.parent / "file").write_text("")
    broken = hooks_of(Listener(replace(quiet, spool_dir=quiet.spool_dir.parent / "file" / "spool")))
    broken.on_asset_created(asset=MODEL)
    assert "NotADirectoryError" in caplog.text


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("windsock")]


def test_a_task_runner_starts_no_thread_and_a_hook_of_the_sdk_is_sent_at_once(
    settings: Settings, receiver: Receiver
) -> None:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance, TaskRunnerMarker

    hook = hooks_of(Listener(settings))
    hook.on_starting(component=TaskRunnerMarker())
    values: dict[str, Any] = {"id": uuid.uuid4(), "dag_id": "etl", "run_id": "r", "task_id": "t"}
    values |= {"try_number": 1, "map_index": None, "state": "failed"}
    ti = RuntimeTaskInstance.model_construct(**values)
    assert is_in_task_process(type(ti))
    hook.on_task_instance_running(previous_state="queued", task_instance=ti)
    hook.on_task_instance_failed(previous_state="running", task_instance=ti, error=ValueError("no"))
    assert receiver.ids == [f"task:{ti.id}:running", f"task:{ti.id}:failed"]
    assert receiver.events[f"task:{ti.id}:failed"]["data"]["map_index"] == -1
    assert threads() == []


def test_the_scheduler_s_task_instance_is_not_the_sdk_s() -> None:
    from airflow.models.taskinstance import TaskInstance

    assert not is_in_task_process(TaskInstance)
