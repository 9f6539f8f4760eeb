"""Every notification that something has recovered, against Airflow's database: is it true?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from monitor.events.identity import run_id_of
from tests.airflow_server import AirflowServer
from tests.monitor_process import MonitorProcess
from tests.scenarios.log import Log

PAGE = 200
NOT_SENT = ("superseded", "suppressed", "dead")
TEST_RUN = "test"


@dataclass(frozen=True)
class Run:
    """A run as Airflow's database has it."""

    dag_id: str
    name: str
    state: str
    order: datetime
    """Its logical date; of one without, its start."""
    ended: datetime | None


@dataclass(frozen=True)
class Recovery:
    """A notification of a recovery: of what it says so, and by what."""

    created_at: datetime
    opened_by: Mapping[str, Any]
    closed_by: Mapping[str, Any]

    @property
    def what(self) -> str:
        return f"{self.closed_by['type']} of {self.closed_by['subject']} ends {self.opened_by['subject']}"


def false_recoveries(airflow: AirflowServer, monitor: MonitorProcess, log: Log) -> list[str]:
    """Those that say of something else that it recovered, or of a DAG that has failed since, in words."""
    runs = _runs(airflow)
    recoveries = list(_recoveries(monitor, {telling.seq: telling.event for telling in log.read()}))
    return sorted(recovery.what for recovery in recoveries if _is_false(recovery, runs))


def _recoveries(monitor: MonitorProcess, events: Mapping[int, dict[str, Any]]) -> Iterator[Recovery]:
    with httpx.Client(base_url=f"{monitor.url}/api/v1", timeout=30, trust_env=False) as client:
        query: dict[str, Any] = {"limit": PAGE}
        while True:
            page = client.get("/deliveries", params=query).raise_for_status().json()
            for delivery in page["deliveries"]:
                if delivery["kind"] == "recovered" and delivery["state"] not in NOT_SENT:
                    incident = client.get(f"/incidents/{delivery['incident_id']}").raise_for_status().json()
                    yield Recovery(
                        datetime.fromisoformat(delivery["created_at"]),
                        events[incident["opened_seq"]],
                        events[delivery["event_seq"]],
                    )
            if not page.get("next"):
                return
            query["cursor"] = page["next"]


def _is_false(recovery: Recovery, runs: Mapping[str, Run]) -> bool:
    opened, closed = recovery.opened_by["data"], recovery.closed_by["data"]
    if "filename" in closed:  # a hook knows the whole path, REST the path inside the bundle
        return not _is_one_file(opened["filename"], closed["filename"])
    if "task_id" in closed:
        return any(opened[name] != closed[name] for name in ("dag_id", "task_id", "map_index"))
    if "run_id" not in closed:
        return False
    run = runs.get(str(recovery.closed_by["id"]))
    if run is None or closed.get("run_type") == TEST_RUN:  # deleted since, or no production
        return run is not None
    return any(
        other.dag_id == run.dag_id
        and other.state == "failed"
        and other.order >= run.order
        and other.name != run.name
        and other.ended is not None
        and other.ended < recovery.created_at
        for other in runs.values()
    )


def _is_one_file(one: str, other: str) -> bool:
    parts = sorted((one.split("/"), other.split("/")), key=len)
    return parts[1][-len(parts[0]) :] == parts[0]


def _runs(airflow: AirflowServer) -> dict[str, Run]:
    """By the id of the event of their end."""
    rows = airflow.query(
        "SELECT dag_id, run_id, start_date, queued_at, end_date, state, logical_date FROM dag_run"
    )
    return {
        run_id_of(dag, run, start, queued, state): Run(dag, run, state, logical or start or queued, end)
        for dag, run, start, queued, end, state, logical in rows
    }
