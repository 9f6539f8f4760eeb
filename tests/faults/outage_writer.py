"""One host's processes during an outage: `outage_writer.py KIND NUMBER RUNS`.

`scheduler` appends to its journal and goes on draining; `tasks` forks a short process for each task, which
puts its events and ends as Airflow ends it; `late` does so for the runs of all others, when the monitor is
back. Each says how many events it kept, and ends with its standard input. A run's events are numbered in the
order of its hooks.
"""

import json
import os
import sys
import uuid
from collections.abc import Iterator
from typing import Any

from airflow_windsock import settings as configuration
from airflow_windsock.backoff import Backoff
from airflow_windsock.drainer import Drainer
from airflow_windsock.sender import Sender
from airflow_windsock.spool import Spool
from airflow_windsock.task_sender import TaskSender

EVENTS = 26  # of a run, while the monitor is away
LATE = 2  # of a run, when it is back
MOMENT = "2026-11-22T10:00:00.000000Z"


def events(run: str, steps: range) -> list[tuple[str, bytes]]:
    """A task's tries, each running or up for retry; with the try's id."""
    found = []
    for step in steps:
        ti_id, state = str(uuid.uuid4()), ("running", "up_for_retry")[step % 2]
        data: dict[str, Any] = dict.fromkeys(("end_date", "operator", "hostname", "error"))
        data |= {"dag_id": "etl", "run_id": run, "task_id": "load", "map_index": -1}
        data |= {"ti_id": ti_id, "try_number": step, "max_tries": 99, "state": state}
        data |= {"start_date": MOMENT, "reported_by": "listener"}
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": f"task:{ti_id}:{state}",
            "source": "/airflow/local",
            "time": MOMENT,
        }
        event |= {"type": f"airflow.task_instance.{state}", "subject": f"etl/{run}/load"}
        event |= {"datacontenttype": "application/json", "data": data}
        found.append((ti_id, json.dumps(event).encode()))
    return found


def stories(kind: str, runs: range) -> Iterator[list[tuple[str, bytes]]]:
    for run in runs:
        if kind == "late":
            for other in ("scheduler", "tasks"):
                yield events(f"{other}-{run}", range(EVENTS, EVENTS + LATE))
        else:
            yield events(f"{kind}-{run}", range(EVENTS))


def main() -> None:
    kind, number, runs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    settings, problems = configuration.from_environment()
    assert settings is not None
    assert settings.endpoint is not None, problems
    spool = Spool(settings.spool_dir, settings.max_events, settings.max_bytes)
    courier = Sender(settings, settings.endpoint, spool)
    backoff = Backoff(settings.spool_dir / "backoff")
    drainer = Drainer(spool, courier, backoff)
    count = 0
    for told in stories(kind, range(number, runs // 2, 2)):
        count += len(told)
        if kind == "scheduler":
            for _, body in told:
                drainer.add(body)
        elif os.fork() == 0:
            sender = TaskSender(spool, courier, backoff, settings.task_send_budget)
            for ti_id, body in told:
                sender.send(ti_id, spool.add(body))
            os._exit(0)
        else:
            os.wait()
    sys.stdout.write(f"{count}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
