"""A real Airflow for tests: api-server, scheduler and dag-processor (triggerer on demand).

Its metadata are kept in SQLite, or in PostgreSQL where a test says so.
Every component listens on 127.0.0.1 only and is ended with all that it forked (tests/sessions.py).
"""

import json
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from tests.airflow_database import AirflowDatabase, PostgresDatabase, Rows, SqliteDatabase
from tests.airflow_environment import AIRFLOW, variables
from tests.ports import free_port
from tests.sessions import Sessions

START_SECONDS = 120.0  # three cold imports of Airflow side by side on a busy machine
STOP_SECONDS = 15.0  # a component's own shutdown; then it is killed
POLL_SECONDS = 0.1
ENDED = ("success", "failed")
SIGN_OF_LIFE = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}
"""A component's name in the answer of /monitor/health."""

T = TypeVar("T")


class AirflowServer:
    """`with AirflowServer(dags_folder) as airflow: …`: started once, stopped for sure.

    `plugins_folder` unset: Airflow without any plugin. `env` overrides any variable of the components.
    `postgres_url`: an empty database of the caller's for Airflow's metadata, instead of an SQLite file.
    """

    username = "admin"
    viewer = "viewer"  # may read, and nothing else

    def __init__(
        self,
        dags_folder: Path,
        *,
        plugins_folder: Path | None = None,
        env: Mapping[str, str] | None = None,
        triggerer: bool = False,
        processes: int = 2,
        postgres_url: str | None = None,
    ) -> None:
        self.dags_folder = dags_folder
        self.home = Path(tempfile.mkdtemp(prefix="windsock-airflow-"))
        self.password = secrets.token_urlsafe(12)
        self.viewer_password = secrets.token_urlsafe(12)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database: AirflowDatabase = (
            PostgresDatabase(postgres_url) if postgres_url else SqliteDatabase(self.home / "airflow.db")
        )
        self.environment = {
            **variables(self.home, self.url, self.database.url, processes),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins_folder or self.home / "plugins"),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{self.username}:admin,{self.viewer}:viewer",
            **(env or {}),
        }
        self.commands = {
            "api-server": ["api-server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"],
            "scheduler": ["scheduler", "--skip-serve-logs"],
            "dag-processor": ["dag-processor"],
            **({"triggerer": ["triggerer", "--skip-serve-logs"]} if triggerer else {}),
        }
        self._sessions = Sessions()
        self._client: httpx.Client | None = None

    def __enter__(self) -> "AirflowServer":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start every component and wait until all of them say that they are healthy."""
        self.database.create()
        passwords = {self.username: self.password, self.viewer: self.viewer_password}
        (self.home / "passwords.json").write_text(json.dumps(passwords))
        (self.home / "plugins").mkdir()
        self.prepare()
        for component in self.commands:
            self.start_component(component)
        self.wait_until(self.healthy, START_SECONDS, "a healthy Airflow")

    def prepare(self) -> None:
        """What is to be done once the database is there, and before anything runs."""

    def stop(self) -> None:
        """End every process of this Airflow and remove its home. Safe to call twice."""
        self._sessions.stop(STOP_SECONDS)
        if self._client:
            self._client.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def start_component(self, component: str) -> None:
        """Start one component that does not run; its output goes to its log file."""
        command: list[str | Path] = [AIRFLOW, *self.commands[component]]
        self._sessions.start(component, command, self.environment, self.home, self.log_file(component))

    def kill(self, component: str, with_children: bool = True) -> None:
        """SIGKILL one component: with all that it forked (a container lost), or it alone (out of memory)."""
        self._sessions.kill(component, with_children)

    def kill_orphans(self) -> None:
        """SIGKILL the children of components that were killed alone."""
        self._sessions.kill_orphans()

    def restart(self, component: str) -> None:
        """Start a component anew, killing what still runs of it, and wait until it is healthy."""
        if component in self._sessions.names():
            self._sessions.kill(component)
        before = datetime.now(timezone.utc)
        self.start_component(component)
        seen = {component: before}
        self.wait_until(lambda: self.healthy(seen), START_SECONDS, f"a healthy {component}")

    def pid(self, component: str) -> int:
        return self._sessions.pid(component)

    def log_file(self, component: str) -> Path:
        return self.home / f"{component}.log"

    def healthy(self, since: Mapping[str, datetime] | None = None) -> bool:
        """Whether every component that was started says so; `since`: by a heartbeat after this moment.

        Raises RuntimeError with its last words where one has ended.
        """
        for component, code in self._sessions.ended().items():
            raise RuntimeError(f"{component} ended with {code}:\n{self._log_tail(component)}")
        try:
            health = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5, trust_env=False).json()
        except (httpx.TransportError, ValueError):
            return False
        return all(
            _is_healthy(health[key], f"latest_{key}_heartbeat", (since or {}).get(name))
            for name, key in SIGN_OF_LIFE.items()
            if name in self._sessions.names()
        )

    def api(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Ask Airflow's REST API as the admin. `path` begins behind /api/v2. Raises httpx.HTTPStatusError."""
        if self._client is None:
            self._client = httpx.Client(base_url=f"{self.url}/api/v2", timeout=30, trust_env=False)
            login = {"username": self.username, "password": self.password}
            answer = self._client.post(f"{self.url}/auth/token", json=login).raise_for_status()
            self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        response = self._client.request(method, path, json=body, params=query).raise_for_status()
        return response.json() if response.content else None

    def wait_for_dag(self, dag_id: str, timeout: float = 60) -> dict[str, Any]:
        """Wait until the dag-processor has parsed a DAG."""

        def parsed() -> Any:
            listed = self.api("GET", "/dags", dag_id_pattern=dag_id)["dags"]
            return next((dag for dag in listed if dag["dag_id"] == dag_id), None)

        found: dict[str, Any] = self.wait_until(parsed, timeout, f"the DAG {dag_id!r}")
        return found

    def trigger(self, dag_id: str, run_id: str | None = None, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run, once the DAG is known; answers its run id."""
        self.wait_for_dag(dag_id)
        body = {"logical_date": None, "conf": dict(conf or {})} | ({"dag_run_id": run_id} if run_id else {})
        run: dict[str, Any] = self.api("POST", f"/dags/{quote(dag_id, safe='')}/dagRuns", body)
        return str(run["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.api(
            "GET", f"/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"
        )
        return answer

    def wait_for_run(
        self, dag_id: str, run_id: str, states: Collection[str] = ENDED, timeout: float = 120
    ) -> dict[str, Any]:
        """Wait until a run is in one of these states; answers the run."""

        def arrived() -> dict[str, Any] | None:
            run = self.run(dag_id, run_id)
            return run if run["state"] in states else None

        return self.wait_until(arrived, timeout, f"{dag_id}/{run_id} in {states}")

    def wait_until(self, look: Callable[[], T | None], timeout: float, what: str) -> T:
        """Look until there is something to see. Raises TimeoutError with the components' last words."""
        deadline = time.monotonic() + timeout
        while not (seen := look()):
            if time.monotonic() > deadline:
                logs = "\n".join(f"--- {name}\n{self._log_tail(name)}" for name in self.commands)
                raise TimeoutError(f"waited {timeout:.0f} s for {what}\n{logs}")
            time.sleep(POLL_SECONDS)
        return seen

    def query(self, sql: str, *parameters: Any) -> Rows:
        """Read Airflow's own database, the truth that tests compare with. Placeholders are question marks."""
        return self.database.query(sql, *parameters)

    def _log_tail(self, component: str, lines: int = 30) -> str:
        path = self.log_file(component)
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""


def _is_healthy(job: Mapping[str, Any], heartbeat: str, since: datetime | None) -> bool:
    alive = job["status"] == "healthy"
    return alive and (since is None or datetime.fromisoformat(job[heartbeat]) > since)
