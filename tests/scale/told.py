"""What an Airflow tells, a run after the other, and what the board has to show of it in the end."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from tests.sample import START, run_event, task_event

Raw = dict[str, Any]
Batch = list[Raw]

TASKS = 4
EVENTS_A_RUN = 2 * TASKS + 2
DAGS = 50
FAILED = 0.05  # of runs
MIXED = 400  # events whose order is lost on the way: schedulers and workers tell of the same run
SIZES = (1, 1, 2, 5, 20, 60, 100, 250)  # of batches: a task's own word up to a spool that was drained


@dataclass(frozen=True)
class Told:
    """Events in the order of their sending, in batches."""

    batches: list[Batch]
    runs: dict[tuple[str, str], str]
    """The state in which each run ends."""

    @property
    def failures(self) -> dict[str, str]:
        """The events by which runs are told to have failed, by their ids, in words."""
        every = (raw for batch in self.batches for raw in batch)
        return {raw["id"]: raw["subject"] for raw in every if raw["type"] == "airflow.dag_run.failed"}

    @property
    def ids(self) -> set[str]:
        return {raw["id"] for batch in self.batches for raw in batch}


def told(events: int, seed: int, now: datetime, name: str = "told", failing: float = FAILED) -> Told:
    """About as many events of runs that began just now; so many of the runs fail."""
    chance = random.Random(seed)  # noqa: S311 (to be repeatable is its purpose)
    runs = {
        (f"{name}_{number % DAGS}", f"manual__{number}"): "failed" if chance.random() < failing else "success"
        for number in range(max(1, events // EVENTS_A_RUN))
    }
    since = (now - START).total_seconds()
    every = [raw for (dag, run), end in runs.items() for raw in _run(dag, run, end, since)]
    for start in range(0, len(every), MIXED):
        part = every[start : start + MIXED]
        chance.shuffle(part)
        every[start : start + MIXED] = part
    return Told(list(_batched(every, chance)), runs)


def _run(dag: str, run: str, end: str, since: float) -> Iterator[Raw]:
    yield run_event("running", dag, run, start=since)
    for number in range(TASKS):
        running = task_event("running", f"task_{number}", dag, run)
        yield running
        last = end if number == TASKS - 1 else "success"
        yield task_event(last, f"task_{number}", dag, run, ti_id=running["data"]["ti_id"])
    yield run_event(end, dag, run, start=since)


def _batched(every: Sequence[Raw], chance: random.Random) -> Iterator[Batch]:
    rest = iter(every)
    while batch := list(islice(rest, chance.choice(SIZES))):
        yield batch
