"""What OpenAPI and /docs show of each kind of answer: one failed run of a DAG, and what came of it."""

from typing import Any

Shown = dict[str, Any]

EVENT: Shown = {
    "specversion": "1.0",
    "id": "run:4e9c5f0c1d3b4a7e8f60718293a4b5c6:failed",
    "source": "/airflow/local",
    "type": "airflow.dag_run.failed",
    "subject": "etl/manual__1",
    "time": "2026-11-22T10:00:10.000000Z",
    "datacontenttype": "application/json",
    "data": {
        "dag_id": "etl",
        "run_id": "manual__1",
        "state": "failed",
        "run_type": "manual",
        "start_date": "2026-11-22T10:00:00.000000Z",
        "end_date": "2026-11-22T10:00:10.000000Z",
        "message": "task_failure",
        "reported_by": "listener",
    },
}
LOGGED: Shown = {"seq": 7, "received_at": "2026-11-22T10:00:10.120000Z", "event": EVENT}
RUN: Shown = {
    "deployment": "local",
    "dag_id": "etl",
    "run_id": "manual__1",
    "state": "failed",
    "run_type": "manual",
    "logical_date": None,
    "queued_at": "2026-11-22T09:59:59Z",
    "start_date": "2026-11-22T10:00:00Z",
    "end_date": "2026-11-22T10:00:10Z",
    "message": "task_failure",
    "last_seq": 7,
}
TASK: Shown = {
    "task_id": "load",
    "map_index": -1,
    "ti_id": "019c1a52-7f3e-7c1d-9a55-0d3f6e2b8a10",
    "try_number": 1,
    "max_tries": 0,
    "state": "failed",
    "operator": "PythonOperator",
    "hostname": "worker-1",
    "start_date": "2026-11-22T10:00:01Z",
    "end_date": "2026-11-22T10:00:05Z",
    "error": {"type": "FileNotFoundError", "message": "No such file: 'nowhere.csv'", "traceback": None},
}
ASSET: Shown = {
    "deployment": "local",
    "uri": "file:///data/model.pkl",
    "name": "model.pkl",
    "group": "asset",
    "updates": 12,
    "updated_at": "2026-11-22T10:00:06Z",
    "extra": {"accuracy": 0.97},
    "source_dag_id": "etl",
    "source_run_id": "manual__1",
    "source_task_id": "load",
    "last_seq": 6,
}
DELIVERY: Shown = {
    "id": 5,
    "notification_id": 5,
    "channel": "email",
    "recipient": "ops@example.com",
    "kind": "opened",
    "incident_id": 4,
    "event_seq": 7,
    "event_id": EVENT["id"],
    "deployment": "local",
    "dag_id": "etl",
    "run_id": "manual__1",
    "rule": "default",
    "template": "run_failed",
    "recipients": ["ops@example.com"],
    "state": "sent",
    "reason": "the mail server took it",
    "subject": "[local] ✗ etl failed",
    "message_id": "<5.1f0c@monitor.example>",
    "attempts": 1,
    "created_at": "2026-11-22T10:00:10Z",
    "next_attempt_at": "2026-11-22T10:00:10Z",
    "settled_at": "2026-11-22T10:00:12Z",
}
ATTEMPT: Shown = {"at": "2026-11-22T10:00:12Z", "outcome": "sent", "answer": "250 2.0.0 OK"}
DECISION: Shown = {
    "event_seq": 7,
    "event_id": EVENT["id"],
    "deployment": "local",
    "dag_id": "etl",
    "rule": "default",
    "outcome": "suppressed",
    "reason": "suppressed by silence 3 of alice until 2026-11-23 08:00 UTC: the source is down",
    "incident_id": 4,
    "silence_id": 3,
    "notification_id": None,
    "created_at": "2026-11-22T10:00:10Z",
}
INCIDENT: Shown = {
    "id": 4,
    "deployment": "local",
    "key": "dag:etl",
    "dag_id": "etl",
    "title": "etl fails",
    "state": "open",
    "failures": 3,
    "opened_at": "2026-11-22T10:00:10Z",
    "opened_seq": 7,
    "last_at": "2026-11-22T12:00:10Z",
    "last_seq": 31,
    "closed_at": None,
    "closed_seq": None,
    "closed_because": None,
    "closed_by": None,
    "flapping": False,
    "acked_at": "2026-11-22T10:12:00Z",
    "acked_by": "alice",
    "ack_reason": "the source is down, a ticket is open",
}
SILENCE: Shown = {
    "id": 3,
    "match": {"deployment": ["local"], "dag_id": ["etl"]},
    "deployment": "local",
    "dag_id": "etl",
    "author": "alice",
    "reason": "the source is down",
    "created_at": "2026-11-22T10:15:00Z",
    "starts_at": "2026-11-22T10:15:00Z",
    "ends_at": "2026-11-23T08:00:00Z",
    "ended_by": None,
    "state": "active",
}
RULE_AND_EVENT: Shown = {"rule": "default", "mismatch": None, "decisions": [DECISION], "deliveries": []}
STATUS: Shown = {
    "dag_id": "Airflow_Lab2",
    "run": {**RUN, "dag_id": "Airflow_Lab2", "state": "success", "tasks": [], "deliveries": []},
    "metrics": {"model.pkl": {"accuracy": 0.97}},
    "running": None,
}
