"""A log of any size with the board that belongs to it, written by bulk SQL: ingest would take an hour."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Table, insert, update

from monitor.database.schema import assets, dag_runs, events, log_state, task_instances
from monitor.events import parse_event
from monitor.events.model import Event
from tests.sample import asset_event, run_event, task_event

DAGS = 1_000
TASKS = 4  # of a run: each begins and ends, as the run does, so a run is 10 events
EVENTS_A_RUN = 2 * TASKS + 2
ASSET = "file:///model.pkl"
FAILED_EVERY = 100  # runs
ASSET_EVERY = 20  # runs
BATCH = 5_000
Row = dict[str, Any]


def fill(connection: Connection, number: int, now: datetime) -> None:
    """Log so many events, the last of them now."""
    runs = number // EVENTS_A_RUN
    began = now - timedelta(seconds=runs)
    _write(connection, events, _event_rows(runs, began))
    _write(connection, dag_runs, (_run_row(run, began) for run in range(runs)))
    _write(connection, task_instances, (row for run in range(runs) for row in _task_rows(run, began)))
    _write(connection, assets, iter([_asset_row(runs, now)]))
    connection.execute(update(log_state).values(last_seq=_last_seq(runs)))


def dag_of(run: int) -> str:
    return f"dag_{run % DAGS}"


def run_of(run: int) -> str:
    return f"scheduled__{run:08}"


def _state(run: int) -> str:
    return "failed" if run % FAILED_EVERY == 7 else "success"


def _last_seq(runs: int) -> int:
    return runs * (EVENTS_A_RUN + 1)


def _told(run: int) -> Iterator[Row]:
    """The events of a run, in their order."""
    dag, name = dag_of(run), run_of(run)
    yield run_event("running", dag, name)
    for task in range(TASKS):
        yield task_event("running", f"task_{task}", dag, name)
        yield task_event("success", f"task_{task}", dag, name)
    if run % ASSET_EVERY == 0:
        yield asset_event(run + 1, source_dag_id=dag, source_run_id=name)
    yield run_event(_state(run), dag, name)


def _event_rows(runs: int, began: datetime) -> Iterator[Row]:
    """One run is made whole and written for all: what differs is named in each row and its body."""
    for run in range(runs):
        at = began + timedelta(seconds=run)
        for place, raw in enumerate(_told(run)):
            yield _event_row(parse_event(raw), run * (EVENTS_A_RUN + 1) + place + 1, at)


def _event_row(event: Event, seq: int, at: datetime) -> Row:
    data = json.loads(event.body)["data"]
    return {
        **{name: getattr(event, name) for name in ("source", "id", "type", "subject", "time", "deployment")},
        **{name: data.get(name) for name in ("task_id", "state")},
        "seq": seq,
        "received_at": at,
        "dag_id": event.dag_id,
        "run_id": data.get("run_id") or data.get("source_run_id"),
        "asset_uri": event.asset_uri,
        "body": event.body,
    }


def _run_row(run: int, began: datetime) -> Row:
    at = began + timedelta(seconds=run)
    return {
        "deployment": "local",
        "dag_id": dag_of(run),
        "run_id": run_of(run),
        "run_key": f"{run:032x}",
        "state": _state(run),
        "run_type": "scheduled",
        "start_date": at,
        "end_date": at + timedelta(seconds=10),
        "last_seq": run * (EVENTS_A_RUN + 1) + EVENTS_A_RUN,
    }


def _task_rows(run: int, began: datetime) -> Iterator[Row]:
    at = began + timedelta(seconds=run)
    for task in range(TASKS):
        yield {
            "deployment": "local",
            "dag_id": dag_of(run),
            "run_id": run_of(run),
            "task_id": f"task_{task}",
            "map_index": -1,
            "ti_id": f"{run:08}-0000-0000-0000-{task:012}",
            "state": "success",
            "try_number": 1,
            "max_tries": 0,
            "start_date": at,
            "end_date": at + timedelta(seconds=2),
            "last_seq": run * (EVENTS_A_RUN + 1) + 2 * task + 3,
        }


def _asset_row(runs: int, now: datetime) -> Row:
    return {
        "deployment": "local",
        "uri": ASSET,
        "name": "model.pkl",
        "group": "asset",
        "updates": -(-runs // ASSET_EVERY),
        "updated_at": now,
        "extra": {"accuracy": 0.97},
        "source_dag_id": dag_of(0),
        "source_run_id": run_of(0),
        "source_task_id": "load",
        "last_seq": _last_seq(runs),
    }


def _write(connection: Connection, table: Table, rows: Iterator[Row]) -> None:
    while some := list(islice(rows, BATCH)):
        connection.execute(insert(table), some)
