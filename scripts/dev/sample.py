"""The sample events of `make dev`, sent by the plugin's own code through the signed webhook.

Each event waits in a spool and is sent by a drainer, as in an Airflow process. So an event that meets a
monitor that just ends is late, and not lost. This module sets the error texts, because the plugin sends no
text unless Airflow's secrets masker can be imported.
"""

import asyncio
import itertools
import json
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow_windsock.backoff import Backoff
from airflow_windsock.drainer import Drainer
from airflow_windsock.events import Event, complete_event, report, serialize, timestamp
from airflow_windsock.sender import Sender
from airflow_windsock.settings import load
from airflow_windsock.spool import Spool

PAUSE_SECONDS = (
    1.0  # between two events: slow enough to be followed on a page, and a round takes half a minute
)
SOURCE = "/airflow/local"
MAPPED = 3  # instances of the mapped task
SECONDS_BEFORE = 30  # a run starts so long before its first event: durations of 0 s show nothing
BROKEN = "/opt/airflow/dags/broken.py"
TRACE = 'Traceback (most recent call last):\n  File "{file}", line 21, in {name}\n{error}\n'
TASK_ERROR = ("ConnectionError", "orders.example.com: connection refused")


class SampleEvents:
    """A plugin without an Airflow: its spool, its sender, and the events of one round after another."""

    def __init__(self, monitor_url: str, secret: str, spool_dir: Path) -> None:
        values = {"monitor_url": monitor_url, "ingest_secret": secret, "spool_dir": str(spool_dir)}
        settings, problems = load(lambda name: values.get(name, ""), spool_dir.parent)
        if settings is None or settings.endpoint is None or problems:
            raise ValueError(f"the plugin does not take {monitor_url}: {'; '.join(problems)}")
        spool = Spool(settings.spool_dir, settings.max_events, settings.max_bytes)
        backoff = Backoff(settings.spool_dir / "backoff")
        self._drainer = Drainer(spool, Sender(settings, settings.endpoint, spool), backoff)

    async def run(self, ready: asyncio.Event) -> None:
        """Send the events one by one while the monitor is ready, round after round; never ends."""
        for made in itertools.chain.from_iterable(sample_round() for _ in itertools.count()):
            await ready.wait()
            self._drainer.add(serialize(made))
            await asyncio.sleep(PAUSE_SECONDS)


def sample_round() -> Iterator[Event]:
    """Yield the events of one round, each made at the moment when it is asked for.

    A run fails after a retry, a DAG file breaks, the failed DAG recovers, a run with mapped tasks updates an
    asset, which starts another run, and the file is mended.
    """
    yield from _failing_run()
    broken = _import_error()
    yield broken
    yield from _recovering_run()
    yield from _training_runs()
    yield _import_error_mended(broken)


def _failing_run() -> Iterator[Event]:
    run = _run("load_orders")
    yield _run_event(run, "running")
    for number, state in ((1, "up_for_retry"), (2, "failed")):
        task = _task(run, "load", try_number=number, max_tries=1)
        yield _task_event(task, "running")
        yield _task_event(task, state)
    yield _run_event(run, "failed")


def _recovering_run() -> Iterator[Event]:
    run = _run("load_orders")
    yield _run_event(run, "running")
    yield from _succeed(_task(run, "load"))
    yield _run_event(run, "success")


def _training_runs() -> Iterator[Event]:
    run = _run("train_model")
    yield _run_event(run, "running")
    yield from _succeed(_task(run, "load_data"))
    for index in range(MAPPED):
        yield from _succeed(_task(run, "train", map_index=index))
    release = _run("release", run_type="asset_triggered")
    yield _asset_update(run, release)
    yield _run_event(run, "success")
    yield _run_event(release, "running")
    yield _run_event(release, "success")


def _succeed(task: SimpleNamespace) -> Iterator[Event]:
    yield _task_event(task, "running")
    yield _task_event(task, "success")


def _run(dag_id: str, run_type: str = "scheduled") -> SimpleNamespace:
    """A run as the hooks get it."""
    start = datetime.fromtimestamp(time.time() - SECONDS_BEFORE, timezone.utc)
    moments = dict.fromkeys(
        ("logical_date", "data_interval_start", "data_interval_end", "run_after", "queued_at"), start
    )
    return SimpleNamespace(
        dag_id=dag_id,
        run_id=f"{run_type}__{start.isoformat()}",
        run_type=run_type,
        start_date=start,
        end_date=None,
        **moments,
    )


def _run_event(run: SimpleNamespace, state: str) -> Event:
    run.end_date = None if state == "running" else datetime.now(timezone.utc)
    return _event(f"on_dag_run_{state}", run, "task_failure" if state == "failed" else "")


def _task(run: SimpleNamespace, task_id: str, **other: int) -> SimpleNamespace:
    """A try of a task as the hooks get it."""
    fields = {"try_number": 1, "max_tries": 0, "map_index": -1, **other}
    return SimpleNamespace(
        dag_id=run.dag_id,
        run_id=run.run_id,
        task_id=task_id,
        id=uuid.uuid4(),
        state="running",
        start_date=datetime.now(timezone.utc),
        end_date=None,
        operator="PythonOperator",
        hostname="worker-1",
        **fields,
    )


def _task_event(task: SimpleNamespace, state: str) -> Event:
    task.state, task.end_date = state, datetime.now(timezone.utc)
    if state not in ("failed", "up_for_retry"):
        return _event(f"on_task_instance_{state}", "running", task)
    failed = _event("on_task_instance_failed", "running", task, None)
    kind, message = TASK_ERROR
    trace = TRACE.format(
        file=f"/opt/airflow/dags/{task.dag_id}.py", name=task.task_id, error=f"{kind}: {message}"
    )
    failed["data"]["error"] = {"type": kind, "message": message, "traceback": trace}
    return failed


def _event(hook: str, *objects: Any) -> Event:
    """The event that the plugin makes of a hook's call at this moment."""
    made: Event = json.loads(complete_event(serialize(report(hook, SOURCE, *objects)), time.time_ns()))
    return made


def _import_error() -> Event:
    module = f"no_such_module_{time.time_ns()}"  # each round's error is another: its id follows from its text
    trace = TRACE.format(
        file=BROKEN, name="<module>", error=f"ModuleNotFoundError: No module named '{module}'"
    )
    made = _event("on_new_dag_import_error", BROKEN, trace)
    made["data"]["stacktrace"] = trace
    return made


def _import_error_mended(broken: Event) -> Event:
    """What the reconciler would find. No hook reports it, but without an Airflow the webhook takes it."""
    data = {name: broken["data"][name] for name in ("filename", "bundle_name", "error_id")}
    return _found("airflow.dag.import_error_mended", BROKEN, f"{data['error_id']}:mended", data)


def _asset_update(source: SimpleNamespace, started: SimpleNamespace) -> Event:
    """What the reconciler would read. Without an Airflow the webhook takes it too."""
    number, uri = time.time_ns() // 10**6, "file:///models/model.pkl"
    data = {
        "asset": {"name": "model.pkl", "uri": uri, "group": "asset"},
        "asset_event_id": number,
        "timestamp": timestamp(datetime.now(timezone.utc)),
        "extra": {"accuracy": 0.9 + number % 100 / 1000},
        "source_dag_id": source.dag_id,
        "source_run_id": source.run_id,
        "source_task_id": "train",
        "source_map_index": 0,
        "created_dagruns": [{"dag_id": started.dag_id, "run_id": started.run_id}],
    }
    return _found("airflow.asset.updated", uri, f"asset_event:{number}", data)


def _found(kind: str, subject: str, event_id: str, data: dict[str, Any]) -> Event:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": SOURCE,
        "type": kind,
        "subject": subject,
        "time": timestamp(datetime.now(timezone.utc)),
        "datacontenttype": "application/json",
        "data": {**data, "reported_by": "listener"},
    }
