"""What an Airflow tells: DAGs of a few tasks, some runs at once, most of them well."""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from monitor.events.identity import asset_event_id_of, run_id_of, stamp, task_id_of
from tests.sample import event

DAGS = 50
TASKS = ("extract", "check", "clean", "join", "train", "evaluate", "publish", "tidy_up")
AT_ONCE = 20  # runs whose events come mixed
RETRIED = 0.02  # of tasks: their first try fails, their second is well
SKIPPED = 0.02
UPDATES = 0.2  # of runs that end well: they update an asset
STEP = timedelta(milliseconds=40)  # from event to event
TRACE = '  File "/opt/airflow/dags/etl.py", line 42, in load\n    rows = fetch(url)\n' * 8

Raw = dict[str, Any]


@dataclass
class Stream:
    """Events that are told now, from a moment on; the same for the same seed."""

    now: datetime
    failing: float
    """Of runs: one of their tasks fails at its last try."""
    seed: int = 1

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311 (no secret)
        self._runs = 0
        self._updates = 0

    def events(self, number: int) -> list[Raw]:
        return list(islice(self._mixed(), number))

    def failed_runs(self, number: int) -> list[Raw]:
        """The end of a run of a DAG of its own, and of another, and so on: nothing but openings."""
        return [_Run(self, f"etl_{index}", index).end("failed") for index in range(number)]

    def tick(self) -> str:
        self.now += STEP
        return stamp(self.now)

    def _mixed(self) -> Iterator[Raw]:
        running = [self._run() for _ in range(AT_ONCE)]
        while True:
            index = self.random.randrange(AT_ONCE)
            event = next(running[index], None)
            if event is None:
                running[index] = self._run()
            else:
                yield event

    def _run(self) -> Iterator[Raw]:
        self._runs += 1
        run = _Run(self, f"etl_{self._runs % DAGS}", self._runs)
        fails_at = self.random.randrange(len(TASKS)) if self.random.random() < self.failing else None
        yield run.begin()
        for index, task_id in enumerate(TASKS):
            if fails_at is not None and index > fails_at:
                yield run.task(task_id, "upstream_failed", 2)
            else:
                yield from self._task(run, task_id, fails=index == fails_at)
        if fails_at is None and self.random.random() < UPDATES:
            self._updates += 1
            yield run.update(self._updates)
        yield run.end("success" if fails_at is None else "failed")

    def _task(self, run: "_Run", task_id: str, fails: bool) -> Iterator[Raw]:
        if not fails and self.random.random() < SKIPPED:
            yield run.task(task_id, "skipped", 1)
            return
        number = 1
        if fails or self.random.random() < RETRIED:
            yield from run.tried(task_id, "up_for_retry", 1)
            number = 2
        yield from run.tried(task_id, "failed" if fails else "success", number)


class _Run:
    def __init__(self, stream: Stream, dag_id: str, number: int) -> None:
        self._stream, self._dag_id = stream, dag_id
        self._start = stream.now
        self._run_id = f"scheduled__{stream.now:%Y-%m-%dT%H:%M:%S.%f}+00:00_{number}"

    def begin(self) -> Raw:
        return self._told("running", None)

    def end(self, state: str) -> Raw:
        return self._told(state, self._stream.tick())

    def _told(self, state: str, end: str | None) -> Raw:
        start = stamp(self._start)
        data = {
            "dag_id": self._dag_id,
            "run_id": self._run_id,
            "state": state,
            "run_type": "scheduled",
            "logical_date": start,
            "data_interval_start": start,
            "data_interval_end": start,
            "run_after": start,
            "queued_at": start,
            "start_date": start,
            "end_date": end,
            "message": None,
        }
        event_id = run_id_of(self._dag_id, self._run_id, self._start, None, state)
        return event(f"airflow.dag_run.{state}", event_id, self._subject, end or start, data)

    def tried(self, task_id: str, state: str, number: int) -> Iterator[Raw]:
        ti_id = self._uuid()
        yield self.task(task_id, "running", number, ti_id)
        yield self.task(task_id, state, number, ti_id)

    def task(self, task_id: str, state: str, number: int, ti_id: str | None = None) -> Raw:
        ti_id, at = ti_id or self._uuid(), self._stream.tick()
        failed = state in ("failed", "up_for_retry")
        data = {
            "dag_id": self._dag_id,
            "run_id": self._run_id,
            "task_id": task_id,
            "map_index": -1,
            "ti_id": ti_id,
            "try_number": number,
            "max_tries": 1,
            "state": state,
            "start_date": at,
            "end_date": None if state == "running" else at,
            "operator": "PythonOperator",
            "hostname": "worker-1",
            "error": {"type": "HTTPError", "message": "503", "traceback": TRACE} if failed else None,
        }
        subject = f"{self._subject}/{task_id}"
        return event(f"airflow.task_instance.{state}", task_id_of(ti_id, state), subject, at, data)

    def update(self, number: int) -> Raw:
        at, uri = self._stream.tick(), f"s3://lake/{self._dag_id}.parquet"
        data = {
            "asset": {"name": self._dag_id, "uri": uri, "group": "asset"},
            "asset_event_id": number,
            "timestamp": at,
            "extra": {"rows": 1_000, "accuracy": 0.97},
            "source_dag_id": self._dag_id,
            "source_run_id": self._run_id,
            "source_task_id": "publish",
            "source_map_index": -1,
            "created_dagruns": [],
        }
        return event("airflow.asset.updated", asset_event_id_of(number), uri, at, data)

    @property
    def _subject(self) -> str:
        return f"{self._dag_id}/{self._run_id}"

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._stream.random.getrandbits(128), version=4))
