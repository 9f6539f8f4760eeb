"""One host's processes during an outage: `outage_writer.py KIND NUMBER RUNS`.

`scheduler` appends to its journal and goes on draining; `tasks` forks a short process for each task, which
puts its events and ends as Airflow ends it. Each says how many events it kept, and ends with its standard
input. A run's events are all one process's, numbered in the order of its hooks.
"""

import json
import os
import sys
import uuid
from typing import Any

from windsock import settings as configuration
from windsock.backoff import Backoff
from windsock.courier import Courier
from windsock.drainer import Drainer
from windsock.spool import Spool
from windsock.task_sender import TaskSender

TRIES = 13  # two events each
MOMENT = "2026-11-22T10:00:00.000000Z"


def events(kind: str, run: int) -> list[tuple[str, bytes]]:
    """A task's tries, each running and up for retry; with the try's id."""
    found = []
    for step in range(TRIES * 2):
        ti_id, state = str(uuid.uuid4()), ("running", "up_for_retry")[step % 2]
        data: dict[str, Any] = dict.fromkeys(("end_date", "operator", "hostname", "error"))
        data |= {"dag_id": "etl", "run_id": f"{kind}-{run}", "task_id": "load", "map_index": -1}
        data |= {"ti_id": ti_id, "try_number": step, "max_tries": 99, "state": state}
        data |= {"start_date": MOMENT, "reported_by": "listener"}
        event = {
            "specversion": "1.0",
            "id": f"task:{ti_id}:{state}",
            "source": "/airflow/local",
            "time": MOMENT,
        }
        event |= {"type": f"airflow.task_instance.{state}", "subject": f"etl/{kind}-{run}/load"}
        event |= {"datacontenttype": "application/json", "data": data}
        found.append((ti_id, json.dumps(event).encode()))
    return found


def main() -> None:
    kind, number, runs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    settings, problems = configuration.from_environment()
    assert settings is not None
    assert settings.endpoint is not None, problems
    spool = Spool(settings.spool_dir, settings.max_events, settings.max_bytes)
    courier = Courier(settings, settings.endpoint, spool)
    backoff = Backoff(settings.spool_dir / "backoff")
    drainer = Drainer(spool, courier, backoff)
    count = 0
    for run in range(number, runs // 2, 2):
        told = events(kind, run)
        count += len(told)
        if kind == "scheduler":
            for _, body in told:
                drainer.put(body)
        elif os.fork() == 0:
            sender = TaskSender(spool, courier, backoff, settings.task_send_budget)
            for ti_id, body in told:
                sender.send(ti_id, spool.put(body))
            os._exit(0)
        else:
            os.wait()
    sys.stdout.write(f"{count}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
