"""What bench/hooks.py times, in a process of its own: `python -m bench.hooks_calls KIND COUNT`."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

PACE = 0.01  # seconds between two hooks of the scheduler: 100 state changes a second
ANY = "scheduler: any of its hooks"
SCHEDULERS = ("on_dag_run_running", "on_dag_run_success", "on_dag_run_failed", "on_task_instance_failed")
TASK_TOTAL = "task: all hooks together"
FOR_SCALE = ("raw", "append", "nobody")
Samples = dict[str, list[float]]  # seconds, by hook


def main() -> None:
    kind, count = sys.argv[1:]
    print(json.dumps({"scheduler": scheduler, "tasks": tasks}[kind](int(count))))


def timed(call: Callable[..., object], **arguments: object) -> float:
    started = time.perf_counter()
    call(**arguments)
    return time.perf_counter() - started


def at_work() -> Callable[[], None]:
    """What a scheduler does between two hooks: it asks a database, in SQLAlchemy's words, and is not idle."""
    import airflow.models
    from airflow.models.dagrun import DagRun
    from sqlalchemy import create_engine, select
    from sqlalchemy.orm import Session

    airflow.models.import_all_models()  # type: ignore[no-untyped-call]
    engine = create_engine("sqlite://")
    DagRun.metadata.create_all(engine)
    session = Session(engine)
    columns = (DagRun.dag_id, DagRun.run_id, DagRun.start_date)

    def work() -> None:
        until = time.perf_counter() + PACE
        while time.perf_counter() < until:
            session.execute(select(*columns).where(DagRun.dag_id == "etl").order_by(DagRun.run_id)).all()

    return work


def scheduler(count: int) -> Samples:
    """The scheduler's hooks, at a steady pace, and the api-server's and dag-processor's beside them."""
    pause = at_work() if os.environ["BENCH_BETWEEN"] == "work" else partial(time.sleep, PACE)
    from airflow.listeners.listener import get_listener_manager
    from airflow.sdk import Asset

    hook = get_listener_manager().hook
    hook.on_starting(component=object())
    folder = Path(tempfile.mkdtemp(dir=os.environ["AIRFLOW_HOME"]))
    opened = os.open(folder / "opened", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    asset = Asset(name="model", uri="file:///model")
    samples: Samples = {}
    for number in range(count):
        run, ti = dag_run(number), orm_task(number)
        calls: list[tuple[str, dict[str, object]]] = [
            ("on_dag_run_running", {"dag_run": run, "msg": ""}),
            ("on_dag_run_success", {"dag_run": run, "msg": "success"}),
            ("on_dag_run_failed", {"dag_run": run, "msg": "task_failure"}),
            (
                "on_task_instance_failed",
                {"previous_state": "running", "task_instance": ti, "error": "killed"},
            ),
            ("on_asset_changed", {"asset": asset}),
            ("on_existing_dag_import_error", {"filename": "f.py", "stacktrace": "Traceback\n" * 40}),
        ]
        for name, arguments in calls:
            pause()
            samples.setdefault(name, []).append(timed(getattr(hook, name), **arguments))
            if name in SCHEDULERS:
                samples.setdefault(ANY, []).append(samples[name][-1])
        pause()
        samples.setdefault("raw", []).append(timed(one_file, folder=folder, name=str(number)))
        pause()
        samples.setdefault("append", []).append(timed(one_line, descriptor=opened))
        pause()
        samples.setdefault("nobody", []).append(timed(hook.before_stopping, component=hook))
    return samples


def one_file(folder: Path, name: str) -> None:
    descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, b"x" * 600)
    os.close(descriptor)
    (folder / name).rename(folder / f"{name}.json")


def one_line(descriptor: int) -> None:
    os.write(descriptor, b"x" * 600)


def dag_run(number: int) -> Any:
    import airflow.models
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunType

    airflow.models.import_all_models()  # type: ignore[no-untyped-call]
    values = {"dag_id": "etl", "run_id": f"manual__{number}", "run_type": DagRunType.MANUAL}
    times = ["logical_date", "data_interval_start", "data_interval_end", "run_after", "queued_at"]
    now = dict.fromkeys([*times, "start_date", "end_date"], datetime.now(timezone.utc))
    return loaded(DagRun, {**values, **now, "state": DagRunState.RUNNING})


def orm_task(number: int) -> Any:
    from airflow.models.taskinstance import TaskInstance

    values = {"id": uuid.uuid4(), "dag_id": "etl", "run_id": f"manual__{number}", "task_id": "load"}
    values |= {"try_number": 1, "max_tries": 0, "map_index": -1, "state": "failed"}
    values |= {"operator": "PythonOperator", "hostname": "worker"}
    now = dict.fromkeys(("start_date", "end_date"), datetime.now(timezone.utc))
    return loaded(TaskInstance, {**values, **now})


def loaded(model: Any, values: dict[str, Any]) -> Any:
    """Airflow's model as the scheduler has it from a query: every column is there."""
    from sqlalchemy.orm import attributes, configure_mappers

    configure_mappers()
    row = model.__new__(model)
    attributes.manager_of_class(model).setup_instance(row)
    columns = dict.fromkeys(attribute.key for attribute in row.__mapper__.column_attrs)
    for name, value in {**columns, **values}.items():
        attributes.set_committed_value(row, name, value)
    return row


def tasks(count: int) -> Samples:
    """Each task in a fork of its own, as the supervisor makes it; half of them fail."""
    from airflow.sdk.execution_time import supervisor  # noqa: F401 (what a worker has imported before it forks)
    from airflow.sdk.listener import get_listener_manager

    get_listener_manager()
    samples: Samples = {}
    for number in range(count):
        if os.environ["BENCH_FORGET_BACKOFF"]:
            (Path(os.environ["AIRFLOW_HOME"]) / "windsock-spool" / "backoff").unlink(missing_ok=True)
        for hook, seconds in in_fork(partial(task, number)).items():
            samples.setdefault(hook, []).append(seconds)
    return samples


def task(number: int) -> dict[str, float]:
    from airflow.sdk import BaseOperator
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance, TaskRunnerMarker
    from airflow.sdk.listener import get_listener_manager

    values: dict[str, Any] = {"id": uuid.uuid4(), "dag_id": "etl", "run_id": f"manual__{number}"}
    values |= {"task_id": "load", "task": BaseOperator(task_id="load"), "map_index": -1, "try_number": 1}
    values |= {"start_date": datetime.now(timezone.utc), "state": "failed"}
    ti = RuntimeTaskInstance.model_construct(**values)
    hook = get_listener_manager().hook
    arguments = {"previous_state": "running", "task_instance": ti}
    seconds = {
        "on_starting": timed(hook.on_starting, component=TaskRunnerMarker()),
        "on_task_instance_running": timed(hook.on_task_instance_running, **arguments),
        "on_task_instance_failed (in the task)": timed(
            hook.on_task_instance_failed, **arguments, error=failure()
        ),
        "before_stopping": timed(hook.before_stopping, component=TaskRunnerMarker()),
    }
    return {**seconds, TASK_TOTAL: sum(seconds.values())}


def failure() -> Exception:
    try:
        return Exception(json.loads("no JSON"))
    except ValueError as error:
        return error


def in_fork(action: Callable[[], dict[str, float]]) -> dict[str, float]:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, json.dumps(action()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        result: dict[str, float] = json.loads(answer.read())
    os.waitpid(pid, 0)
    return result


if __name__ == "__main__":
    main()
