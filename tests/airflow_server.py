"""A real Airflow for tests: api-server, scheduler and dag-processor (triggerer on demand) on SQLite.

Every component listens on 127.0.0.1 only, leads a session of its own, and is ended with all that it forked:
by stop(), or by a watchdog process if the test run itself is killed.
"""

import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import psutil  # type: ignore[import-untyped]

REPOSITORY = Path(__file__).resolve().parent.parent
ENVIRONMENT = Path(
    os.environ.get("WINDSOCK_TEST_AIRFLOW_ENV", REPOSITORY / ".windsock" / "env" / "airflow-3.3.2")
)
"""The Python environment that holds Airflow."""

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
    ) -> None:
        self.dags_folder = dags_folder
        self.home = Path(tempfile.mkdtemp(prefix="windsock-airflow-"))
        self.password = secrets.token_urlsafe(12)
        self.viewer_password = secrets.token_urlsafe(12)
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database = self.home / "airflow.db"
        self.environment = self._environment(plugins_folder, processes) | dict(env or {})
        self.commands = {
            "api-server": ["api-server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"],
            "scheduler": ["scheduler", "--skip-serve-logs"],
            "dag-processor": ["dag-processor"],
            **({"triggerer": ["triggerer", "--skip-serve-logs"]} if triggerer else {}),
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._watchdog: subprocess.Popen[bytes] | None = None
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
        _template_database(self.database)
        passwords = {self.username: self.password, self.viewer: self.viewer_password}
        (self.home / "passwords.json").write_text(json.dumps(passwords))
        (self.home / "plugins").mkdir()
        for component in self.commands:
            self.start_component(component)
        self.wait_until(self.healthy, START_SECONDS, "a healthy Airflow")

    def stop(self) -> None:
        """End every process of this Airflow and remove its home. Safe to call twice."""
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        for component in list(self._running):
            self._end(component, STOP_SECONDS)
        if self._client:
            self._client.close()
        if self._watchdog and self._watchdog.stdin:
            self._watchdog.kill()
            self._watchdog.stdin.close()
            self._watchdog.wait()
            self._watchdog = None
        shutil.rmtree(self.home, ignore_errors=True)

    def start_component(self, component: str) -> None:
        """Start one component, in a session of its own; its output goes to its log file."""
        with self.log_file(component).open("ab") as log:
            process = subprocess.Popen(
                [ENVIRONMENT / "bin" / "airflow", *self.commands[component]],
                cwd=self.home,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running[component] = process
        self._guard(process.pid)

    def kill(self, component: str, with_children: bool = True) -> None:
        """SIGKILL one component: with all that it forked (a container lost), or it alone (out of memory)."""
        if with_children:
            self._end(component, 0)
        else:
            self._running[component].kill()
            self._running[component].wait()

    def restart(self, component: str) -> None:
        """Start a component again, after a kill or in place of the one that runs, and wait until it is healthy."""
        if component in self._running:
            self._end(component, 0)
        before = time.time()
        self.start_component(component)
        self.wait_until(lambda: self.healthy(since=before), START_SECONDS, f"a healthy {component}")

    def pid(self, component: str) -> int:
        return self._running[component].pid

    def log_file(self, component: str) -> Path:
        return self.home / f"{component}.log"

    def healthy(self, since: float = 0.0) -> bool:
        """Whether every component that was started runs and has shown a heartbeat (after `since`, Unix time)."""
        for component, process in self._running.items():
            if process.poll() is not None:
                raise RuntimeError(f"{component} ended with {process.returncode}:\n{self._log_tail(component)}")
        try:
            health = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5, trust_env=False).json()
        except (httpx.TransportError, ValueError):
            return False
        jobs = [health[SIGN_OF_LIFE[name]] for name in self._running if name in SIGN_OF_LIFE]
        return all(job["status"] == "healthy" for job in jobs)

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

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Read Airflow's own database: the truth that tests compare with."""
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)
        try:
            return connection.execute(sql, parameters).fetchall()
        finally:
            connection.close()

    def _end(self, component: str, grace: float) -> None:
        process = self._running.pop(component)
        try:
            process.wait(grace or None if grace else 0.001)
        except subprocess.TimeoutExpired:
            process.kill()
        _kill_session(process.pid)
        process.wait()

    def _guard(self, session: int) -> None:
        """Tell the watchdog of one more session to end, should this process be gone before it could."""
        if self._watchdog is None:
            self._watchdog = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, bufsize=0, start_new_session=True
            )
        assert self._watchdog.stdin is not None
        self._watchdog.stdin.write(f"{session}\n".encode())

    def _log_tail(self, component: str, lines: int = 30) -> str:
        path = self.log_file(component)
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def _environment(self, plugins_folder: Path | None, processes: int) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ}
        return kept | {
            "AIRFLOW_HOME": str(self.home),
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags_folder),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins_folder or self.home / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": str(processes),
            "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{self.username}:admin,{self.viewer}:viewer",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.database}",
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
            "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",  # it would listen on a port of its own
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",  # tests add files while it runs
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _kill_session(session: int) -> None:
    """SIGKILL every process of a session: children that changed their group, orphans, everything."""
    for pid in psutil.pids():
        try:
            if os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def _template_database(target: Path) -> None:
    """Copy a migrated, empty database to `target`; migrate once an environment, as it takes long."""
    version = (ENVIRONMENT / ".made").stat().st_mtime_ns if (ENVIRONMENT / ".made").exists() else 0
    cache = REPOSITORY / ".windsock" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    template = cache / f"{ENVIRONMENT.name}-{version}.db"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not template.exists():
            _migrate(template)
    shutil.copyfile(template, target)


def _migrate(template: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="windsock-airflow-") as home:
        fresh = Path(home) / "airflow.db"
        subprocess.run(
            [ENVIRONMENT / "bin" / "airflow", "db", "migrate"],
            env={
                "PATH": os.environ["PATH"],
                "AIRFLOW_HOME": home,
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{fresh}",
            },
            check=True,
            capture_output=True,
        )
        partial = template.with_suffix(".partial")
        shutil.copyfile(fresh, partial)
        partial.rename(template)


def _watch() -> None:
    """The watchdog: reads sessions, one a line, until the test run closes the pipe by its death; ends them."""
    for session in sys.stdin.read().split():
        _kill_session(int(session))


if __name__ == "__main__":
    _watch()
