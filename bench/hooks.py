"""What the plugin's hooks add to Airflow: `.windsock/env/airflow-3.3.2/bin/python bench/hooks.py`.

For each state of the monitor (up; down: the port is closed; hanging: it accepts and never answers), and once
without the plugin, a process of its own imports Airflow, makes Airflow's own listener managers and calls the
hooks through them with Airflow's own objects: in the scheduler's manner (one long-lived process, the drain
in its thread) and in a task's (forked for each task, ended with `os._exit`). *Added* is the time of the call
less the median of the same call without the plugin. `raw` is what one file costs this machine at that moment:
made, written, renamed, with nothing of ours.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PLUGINS = Path(__file__).parents[1] / "plugins"
SECRET = "whsec_" + base64.b64encode(b"bench" * 8).decode()
PACE = 0.01  # seconds between two hooks of the scheduler: 100 state changes a second
CASES = ("up", "down", "hanging")
TASK_TOTAL = "task: all hooks together"
Samples = dict[str, list[float]]  # seconds, by hook


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hooks", type=int, default=300, help="calls of each scheduler hook")
    parser.add_argument("--tasks", type=int, default=200, help="forked task processes")
    parser.add_argument("--worker", choices=["scheduler", "tasks"], help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        print(json.dumps({"scheduler": scheduler, "tasks": tasks}[given.worker](given.count)))
        return
    counts = {"scheduler": given.hooks, "tasks": given.tasks}
    base = {kind: measure(kind, count, None, None) for kind, count in counts.items()}
    print(f"{'monitor':9} {'hook':46} {'without':>8} {'median':>8} {'p99':>8} {'max':>9}   added, ms")
    for case in CASES:
        with MONITORS[case]() as port:
            for kind, count in counts.items():
                report(case, base[kind], measure(kind, count, port, "kept"))
    with MONITORS["hanging"]() as port:
        report("hanging*", base["tasks"], measure("tasks", 20, port, "forgotten"))
    print("* the shared back-off is deleted before each task, so that each is the first to find out")
    durability()


def report(case: str, base: Samples, samples: Samples) -> None:
    for hook, seconds in samples.items():
        without = 0.0 if hook == "raw" else statistics.median(base[hook])
        added = sorted(1000 * (second - without) for second in seconds)
        p99 = added[min(len(added) - 1, int(len(added) * 0.99))]
        middle = statistics.median(added)
        print(f"{case:9} {hook:46} {1000 * without:8.3f} {middle:8.3f} {p99:8.3f} {added[-1]:9.3f}")


def measure(kind: str, count: int, port: int | None, backoff: str | None) -> Samples:
    """Runs a worker with a home of its own; `port` None: without the plugin."""
    home = tempfile.mkdtemp(prefix="windsock-bench-", dir="/tmp")
    (Path(home) / "none").mkdir()
    environment = os.environ | {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS if port else Path(home) / "none"),
        "BENCH_FORGET_BACKOFF": "1" if backoff == "forgotten" else "",
    }
    if port:
        environment["AIRFLOW__WINDSOCK__MONITOR_URL"] = f"http://127.0.0.1:{port}"
        environment["AIRFLOW__WINDSOCK__INGEST_SECRET"] = SECRET
    command = [sys.executable, "-W", "ignore", __file__, "--worker", kind, "--count", str(count)]
    try:
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    samples: Samples = json.loads(done.stdout.splitlines()[-1])
    return samples


def timed(call: Callable[..., object], **arguments: object) -> float:
    started = time.perf_counter()
    call(**arguments)
    return time.perf_counter() - started


def scheduler(count: int) -> Samples:
    """The scheduler's hooks, at a steady pace, and the api-server's and dag-processor's beside them."""
    from airflow.listeners.listener import get_listener_manager
    from airflow.sdk import Asset

    hook = get_listener_manager().hook
    hook.on_starting(component=object())
    raw = Path(tempfile.mkdtemp(dir=os.environ["AIRFLOW_HOME"]))
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
            time.sleep(PACE)
            samples.setdefault(name, []).append(timed(getattr(hook, name), **arguments))
        time.sleep(PACE)
        samples.setdefault("raw", []).append(timed(one_file, folder=raw, name=str(number)))
    return samples


def one_file(folder: Path, name: str) -> None:
    descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, b"x" * 600)
    os.close(descriptor)
    (folder / name).rename(folder / f"{name}.json")


def dag_run(number: int) -> Any:
    import airflow.models
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunType

    airflow.models.import_all_models()  # type: ignore[no-untyped-call]
    now = datetime.now(timezone.utc)
    return DagRun(
        dag_id="etl",
        run_id=f"manual__{number}",
        run_type=DagRunType.MANUAL,
        state=DagRunState.RUNNING,
        logical_date=now,
        run_after=now,
        queued_at=now,
        start_date=now,
    )


def orm_task(number: int) -> Any:
    """Airflow's model as the scheduler holds it; without the database's rest, which no hook reads."""
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy.orm import attributes, configure_mappers

    configure_mappers()
    ti = TaskInstance.__new__(TaskInstance)
    attributes.manager_of_class(TaskInstance).setup_instance(ti)
    values = {"id": uuid.uuid4(), "dag_id": "etl", "run_id": f"manual__{number}", "task_id": "load"}
    for name, value in {
        **values,
        "try_number": 1,
        "max_tries": 0,
        "map_index": -1,
        "state": "failed",
    }.items():
        attributes.set_committed_value(ti, name, value)
    return ti


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
    told = {"previous_state": "running", "task_instance": ti}
    seconds = {
        "on_starting": timed(hook.on_starting, component=TaskRunnerMarker()),
        "on_task_instance_running": timed(hook.on_task_instance_running, **told),
        "on_task_instance_failed (in the task)": timed(hook.on_task_instance_failed, **told, error=failure()),
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


class Taking(BaseHTTPRequestHandler):
    """Takes every event."""

    def do_POST(self) -> None:
        batch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(
            {"results": [{"id": event["id"], "status": "accepted"} for event in batch]}
        ).encode()
        self.send_response(202)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Quiet."""


@contextmanager
def up() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@contextmanager
def down() -> Iterator[int]:
    with socket.socket() as bound:  # and not listening: every connection is refused
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@contextmanager
def hanging() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(4096)  # the kernel accepts, nobody ever answers
        yield listening.getsockname()[1]


MONITORS = {"up": up, "down": down, "hanging": hanging}


def durability(count: int = 500) -> None:
    """What flushing each event to the disk would cost a hook."""
    sys.path.insert(0, str(PLUGINS))
    from windsock.spool import Spool

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        spool = Spool(Path(folder) / "spool", count * 2, 10**9)
        body = json.dumps({"id": "x", "data": "y" * 600}).encode()
        plain = sorted(timed(spool.put, body=body) for _ in range(count))
        flushed = sorted(timed(put_flushed, spool=spool, body=body) for _ in range(count))
    for name, seconds in (("spool.put", plain), ("spool.put + fsync of file and folder", flushed)):
        middle, p99, most = (1000 * seconds[position] for position in (count // 2, count * 99 // 100, -1))
        print(f"{'-':9} {name:46} {'':8} {middle:8.3f} {p99:8.3f} {most:9.3f}")


def put_flushed(spool: Any, body: bytes) -> None:
    new = spool.root / "new"
    for path in (new / spool.put(body), new):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


if __name__ == "__main__":
    main()
