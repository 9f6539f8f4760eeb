"""The containers of one compose project, as the Docker engine sees them, and Airflow's database in one."""

import json
import subprocess
from datetime import datetime, timedelta, timezone
from typing import Any

from monitor.events.identity import run_id_of, task_id_of

COMMAND_SECONDS = 60.0
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

RUN_ENDS = """
    SELECT dag_id, run_id, state, (extract(epoch FROM start_date) * 1000000)::bigint AS started,
        (extract(epoch FROM queued_at) * 1000000)::bigint AS queued
    FROM dag_run WHERE state IN ('success', 'failed')
"""
TASK_ENDS = """
    SELECT id, state FROM task_instance
    WHERE state IN ('success', 'failed', 'skipped', 'upstream_failed', 'removed')
"""


class Engine:
    """Asks the engine anew each time."""

    def __init__(self, project: str) -> None:
        self._label = f"label=com.docker.compose.project={project}"

    def containers(self) -> dict[str, dict[str, Any]]:
        """What the engine knows of each service's container."""
        ids = docker("ps", "-aq", "--filter", self._label).split()
        found = json.loads(docker("inspect", *ids))
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in found}

    def inside(self, service: str, *command: str) -> str:
        """What a command prints that runs in the service's container."""
        return docker("exec", self.containers()[service]["Id"], *command)

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Rows of Airflow's database."""
        whole = f"SELECT coalesce(json_agg(found), '[]') FROM ({sql}) AS found"  # noqa: S608 (ours)
        answer = self.inside("postgres", "psql", "-U", "airflow", "-d", "airflow", "-Atc", whole)
        rows: list[dict[str, Any]] = json.loads(answer)
        return rows

    def terminal_states(self) -> list[str]:
        """The event ids of every terminal state in Airflow's database."""
        runs = [
            run_id_of(
                row["dag_id"], row["run_id"], _moment(row["started"]), _moment(row["queued"]), row["state"]
            )
            for row in self.query(RUN_ENDS)
        ]
        return runs + [task_id_of(row["id"], row["state"]) for row in self.query(TASK_ENDS)]


def docker(*words: str) -> str:
    """Raises CalledProcessError."""
    done = subprocess.run(
        ["docker", *words], check=True, stdout=subprocess.PIPE, text=True, timeout=COMMAND_SECONDS
    )
    return done.stdout


def _moment(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else EPOCH + timedelta(microseconds=microseconds)
