"""A log of any size with the board that belongs to it, written by bulk SQL: ingest would take an hour."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache
from itertools import islice
from typing import Any

from sqlalchemy import Connection, update

from monitor.database.schema import assets, dag_runs, events, log_state, task_instances
from monitor.database.statements import BulkInsert, plain
from monitor.events.event import Event, parse_event
from tests.sample import asset_event, run_event, task_event

RUNS_A_DAG = 50  # whatever the log's size: a DAG's pages are full, and as long, in a small one and in a large
TASKS = 4  # of a run: each begins and ends, as the run does, so a run is 10 events
EVENTS_A_RUN = 2 * TASKS + 2
ASSET = "file:///model.pkl"
FAILED_EVERY = 11  # runs: a page of them, even in a small log, and of every DAG
ASSET_EVERY = 13  # runs
BATCH = 5_000
DAG, RUN = "the-dag", "the-run"  # in a run that is made whole: what others have otherwise
Row = dict[str, Any]


def fill(connection: Connection, number: int, now: datetime) -> None:
    """Log so many events, the last of them now."""
    runs = number // EVENTS_A_RUN
    began = now - timedelta(seconds=runs)
    _write(connection, _EVENTS, _event_rows(runs, began))
    _write(connection, _RUNS, (_run_row(run, runs, began) for run in range(runs)))
    _write(connection, _TASKS, (row for run in range(runs) for row in _task_rows(run, runs, began)))
    _write(connection, _ASSETS, iter([_asset_row(runs, now)]))
    connection.execute(update(log_state).values(last_seq=_last_seq(runs)))


def dag_of(run: int, runs: int) -> str:
    return f"dag_{run % (runs // RUNS_A_DAG)}"


def run_of(run: int) -> str:
    return f"scheduled__{run:08}"


def _state(run: int) -> str:
    return "failed" if run % FAILED_EVERY == 7 else "success"


def _last_seq(runs: int) -> int:
    return runs * (EVENTS_A_RUN + 1)


def _told(state: str, updates: bool) -> Iterator[Row]:
    """The events of a run, in their order."""
    yield run_event("running", DAG, RUN)
    for task in range(TASKS):
        yield task_event("running", f"task_{task}", DAG, RUN)
        yield task_event("success", f"task_{task}", DAG, RUN)
    if updates:
        yield asset_event(1, source_dag_id=DAG, source_run_id=RUN)
    yield run_event(state, DAG, RUN)


@cache
def _whole(state: str, updates: bool) -> tuple[Row, ...]:
    """The rows of one run, to be written for all that end so."""
    return tuple(_event_row(parse_event(raw)) for raw in _told(state, updates))


def _event_rows(runs: int, began: datetime) -> Iterator[Row]:
    for run in range(runs):
        at, name = began + timedelta(seconds=run), run_of(run)
        dag = dag_of(run, runs)
        for place, row in enumerate(_whole(_state(run), run % ASSET_EVERY == 0)):
            event_id = f"{row['id']}:{run}"
            yield {
                **row,
                "seq": run * (EVENTS_A_RUN + 1) + place + 1,
                "received_at": at,
                "id": event_id,
                "dag_id": dag,
                "run_id": name,
                "subject": row["subject"].replace(DAG, dag).replace(RUN, name),
                "body": row["body"].replace(row["id"], event_id).replace(DAG, dag).replace(RUN, name),
            }


def _event_row(event: Event) -> Row:
    data = json.loads(event.body)["data"]
    return {
        **{name: getattr(event, name) for name in ("source", "id", "type", "subject", "time", "deployment")},
        **{name: data.get(name) for name in ("task_id", "state")},
        "asset_uri": event.asset_uri,
        "body": event.body,
    }


def _run_row(run: int, runs: int, began: datetime) -> Row:
    at = began + timedelta(seconds=run)
    return {
        "deployment": "local",
        "dag_id": dag_of(run, runs),
        "run_id": run_of(run),
        "run_key": f"{run:032x}",
        "state": _state(run),
        "run_type": "scheduled",
        "start_date": at,
        "end_date": at + timedelta(seconds=10),
        "logical_date": None,
        "queued_at": None,
        "message": None,
        "last_seq": run * (EVENTS_A_RUN + 1) + EVENTS_A_RUN,
    }


def _task_rows(run: int, runs: int, began: datetime) -> Iterator[Row]:
    at = began + timedelta(seconds=run)
    for task in range(TASKS):
        yield {
            "deployment": "local",
            "dag_id": dag_of(run, runs),
            "run_id": run_of(run),
            "task_id": f"task_{task}",
            "map_index": -1,
            "ti_id": f"{run:08}-0000-0000-0000-{task:012}",
            "state": "success",
            "try_number": 1,
            "max_tries": 0,
            "operator": "PythonOperator",
            "hostname": "worker-1",
            "error": None,
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
        "source_dag_id": dag_of(0, runs),
        "source_run_id": run_of(0),
        "source_task_id": "load",
        "last_seq": _last_seq(runs),
    }


def _write(connection: Connection, write: BulkInsert, rows: Iterator[Row]) -> None:
    while some := list(islice(rows, BATCH)):
        write.rows(connection, some)


_EVENTS = BulkInsert(events, plain(events))
_RUNS, _TASKS, _ASSETS = (
    BulkInsert(dag_runs, plain(dag_runs)),
    BulkInsert(task_instances, plain(task_instances)),
    BulkInsert(assets, plain(assets)),
)
