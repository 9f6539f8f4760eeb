"""All of Windsock around a real Airflow on PostgreSQL: what the scenarios are played on.

Some forty stories wait at the same time. They look at Airflow's database, twice a second: its api-server has
its tasks to serve.
"""

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from tests.airflow_database import Rows, SqliteDatabase
from tests.airflow_environment import REPOSITORY
from tests.airflow_server import AirflowServer
from tests.e2e.truth import IN_BETWEEN, RUN_ENDS, endings, untold
from tests.monitor_process import MonitorProcess, airflow_env
from tests.postgres_server import PostgresServer
from tests.scenarios.log import Log

HERE = Path(__file__).parent
PROCESSES = 6
"""Tasks at once: some only hold, and each supervisor that is killed takes one place with it."""
OFTEN = {"WINDSOCK_RECONCILE_INTERVAL": "2", "WINDSOCK_CONFIG": str(HERE / "windsock.yaml")}
TOLD_SECONDS = 120.0  # a try that a dead scheduler left is told 30 s after its end; the machine may be busy

DAG_SECONDS = 90.0  # until the dag-processor has parsed every file
LOOK_SECONDS = 0.5
RUN_SECONDS = 180.0  # a run beside some forty others on two cores

T = TypeVar("T")

QUICK = {
    # An Airflow that notices within seconds what it otherwise notices within minutes.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    "AIRFLOW__WORKERS__MISSING_DAG_RETRIES": "1",
    "AIRFLOW__WORKERS__MISSING_DAG_RETRY_DELAY": "1",
    "AIRFLOW__CORE__KILLED_TASK_CLEANUP_TIME": "2",
    "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "2",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "8",
}
QUICK_TO_TAKE_OVER = {
    # How soon scheduler and triggerer are taken for dead. On a busy machine this hits the living, too.
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
}


class Stage:
    """What a story works with."""

    def __init__(self, airflow: AirflowServer, monitor: MonitorProcess, signals: Path) -> None:
        self.airflow = airflow
        self.monitor = monitor
        self.log = Log(monitor)
        self._signals = signals
        self._asking = threading.Lock()
        self.version = str(airflow.api("GET", "/version")["version"])

    def signal(self, name: str) -> None:
        """Let those tasks go on that wait for this."""
        (self._signals / name).touch()

    def tries(self, dag_id: str) -> dict[str, str]:
        """What became of each task of a DAG, its tries in order: `{"task[map index]": "failed, success"}`.

        A task that is not mapped stands without brackets.
        """
        rows = self.airflow.query(
            "SELECT task_id, map_index, try_number, 0, state FROM task_instance_history WHERE dag_id = ?"
            " UNION ALL SELECT task_id, map_index, try_number, 1, state FROM task_instance WHERE dag_id = ?"
            " ORDER BY 3, 4",
            *(dag_id, dag_id),
        )
        found: dict[str, list[str]] = {}
        for task, index, _, _, state in rows:
            found.setdefault(task if index < 0 else f"{task}[{index}]", []).append(str(state))
        return {task: ", ".join(states) for task, states in found.items()}

    def runs(self, dag_id: str) -> list[str]:
        """The states of a DAG's runs, oldest first."""
        return [
            row[0]
            for row in self.airflow.query("SELECT state FROM dag_run WHERE dag_id = ? ORDER BY id", dag_id)
        ]

    def until(self, look: Callable[[], T | None], seconds: float, what: str) -> T:
        """Look until there is something to see. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not (seen := look()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {seconds:.0f} s for {what}")
            time.sleep(LOOK_SECONDS)
        return seen

    def trigger(self, dag_id: str) -> str:
        """Begin a run once the DAG is known; answers the run's id."""
        known = "SELECT 1 FROM dag WHERE dag_id = ? AND NOT is_stale"
        self.until(lambda: self.airflow.query(known, dag_id), DAG_SECONDS, f"the DAG {dag_id}")
        return str(self.ask("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None})["dag_run_id"])

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Airflow's REST API, one story at a time. Raises httpx.HTTPStatusError."""
        with self._asking:
            return self.airflow.api(method, path, body, **query)

    def until_told(self, *origins: str) -> None:
        """Wait until everything of these DAGs, assets and files that Airflow's database holds is told.

        Raises AssertionError with what is not.
        """
        try:
            self.until(lambda: not self.untold(*origins), TOLD_SECONDS, "all to be told")
        except TimeoutError:
            raise AssertionError("\n".join(self.untold(*origins))) from None

    def untold(self, *origins: str) -> list[str]:
        expected = [ending for ending in endings(self.airflow) if ending.origin in origins]
        return untold(expected, self.log.ids())

    def until_in_state(self, dag_id: str, task_id: str, state: str) -> None:
        """Wait until a task of a DAG with one run is in a state."""
        self.until(
            lambda: self.tries(dag_id).get(task_id, "").endswith(state),
            RUN_SECONDS,
            f"{dag_id}.{task_id} to be {state}",
        )

    def until_ended(self, dag_id: str, count: int = 1) -> None:
        """Wait until a DAG has so many runs and all have ended."""
        self.until(
            lambda: [state in RUN_ENDS for state in self.runs(dag_id)] == [True] * count,
            RUN_SECONDS,
            f"{dag_id} to end",
        )

    def told_states(self, event_types: str, **data: Any) -> list[str]:
        """The ends that were told, oldest first, in events of such a type whose data say this."""
        events = [telling.event for telling in self.log.read()]
        return [
            event["data"]["state"]
            for event in events
            if event["type"].startswith(event_types)
            and event["data"]["state"] not in IN_BETWEEN
            and all(event["data"].get(name) == value for name, value in data.items())
        ]

    def until_event(self, seconds: float, event_type: str, file: str = "", **data: Any) -> dict[str, Any]:
        """Wait for an event of this type whose data say this; `file`: the base name in its filename."""

        def found() -> dict[str, Any] | None:
            return next((one.event for one in self.log.read() if fits(one.event)), None)

        def fits(event: dict[str, Any]) -> bool:
            said = event["data"]
            return (
                event["type"] == event_type
                and str(said.get("filename", "")).endswith(file)
                and all(said.get(name) == value for name, value in data.items())
            )

        return self.until(found, seconds, f"{event_type} of {data or file}")

    def incidents(self, dag_id: str) -> list[str]:
        """The states of a DAG's incidents, oldest first."""
        found = self.monitor.get("/api/v1/incidents", dag_id=dag_id, limit=200)["incidents"]
        return [one["state"] for one in sorted(found, key=lambda one: one["id"])]

    def remembered(self, sql: str, *parameters: Any) -> Rows:
        """Read the monitor's own database: to know that it has seen what is about to change."""
        return SqliteDatabase(self.monitor.home / "windsock" / "windsock.db").query(sql, *parameters)

    def write(self, name: str, text: str) -> None:
        """Write a DAG file anew, in one step: the dag-processor never sees half of it."""
        file = self.airflow.dags_folder / name
        file.parent.mkdir(exist_ok=True)
        partial = file.with_suffix(".partial")
        partial.write_text(text)
        partial.rename(file)

    def remove(self, name: str) -> None:
        """Take a DAG file away."""
        (self.airflow.dags_folder / name).unlink()


@contextmanager
def opened(folder: Path, settings: Mapping[str, str] = OFTEN) -> Iterator[Stage]:
    """Airflow with the plugin, the monitor with the reconciler, each as processes; ended for sure."""
    signals = folder / "signals"
    signals.mkdir()
    monitor = MonitorProcess(folder, settings)
    with ExitStack() as ended:
        postgres = PostgresServer().start()
        ended.callback(postgres.stop)
        with psycopg.connect(postgres.url().replace("+psycopg", ""), autocommit=True) as admin:
            admin.execute("CREATE DATABASE airflow")
        airflow = AirflowServer(
            Path(shutil.copytree(HERE / "dags", folder / "dags")),
            plugins_folder=REPOSITORY / "plugins",
            env={**monitor.plugin_env(folder / "spool"), **QUICK, "WINDSOCK_TEST_SIGNALS": str(signals)},
            triggerer=True,
            processes=PROCESSES,
            postgres_url=postgres.url("airflow"),
        )
        ended.enter_context(airflow)
        monitor.env |= airflow_env(airflow.url, airflow.username, airflow.password)
        ended.callback(monitor.stop)
        monitor.start()
        stage = Stage(airflow, monitor, signals)
        ended.callback(stage.log.close)
        yield stage
