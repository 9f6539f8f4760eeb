"""All that the faults meet: Airflow on PostgreSQL, the monitor, an SMTP server, and a bad network between.

PostgreSQL, because SIGKILL under SQLite makes "database is locked" the subject.
"""

import shutil
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from tests.airflow_server import AirflowServer
from tests.every_end import every_end
from tests.faults.proxy import FaultyProxy
from tests.faults.schedule import Replies, cuts
from tests.monitor_process import MonitorProcess, airflow_env
from tests.postgres_server import PostgresServer
from tests.smtp_server import SmtpServer
from tests.staged import Staged

HERE = Path(__file__).parent
PLUGINS = HERE.parent.parent / "plugins"
DAGS = HERE / "dags"
MAILED_SUCCESS = "succeeds"
RECIPIENTS = ("ops@example.com", "oncall@example.com", "lead@example.com")
PROCESSES = 4  # tasks at once: runs overlap, and two cores can still carry them

MONITOR = {
    "WINDSOCK_RECONCILE_INTERVAL": "2",
    "WINDSOCK_AIRFLOW_TIMEOUT": "5",
}
AIRFLOW = {
    # What died is found within half a minute, not within Airflow's five.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "40",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "3",
    # An api-server is back within about ten seconds.
    "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "8",
    "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "4",
}


class Stage(Staged):
    """`with Stage(folder, seed) as stage: …`: everything runs and is healthy; at the end all is gone."""

    def __init__(self, folder: Path, seed: int, on_postgres: bool = False) -> None:
        self.folder = folder
        self.database = f"sqlite:///{folder / 'windsock.db'}"
        """The monitor's."""
        self.spool = folder / "spool"
        self.replies = Replies(seed)
        self.smtp = SmtpServer(folder, script=self.replies)
        rules = every_end(folder, RECIPIENTS, MAILED_SUCCESS)
        self.monitor = MonitorProcess(folder, self.smtp.monitor_env() | MONITOR | rules)
        self.to_monitor = FaultyProxy(self.monitor.port, cuts(seed, "plugin to monitor"))
        self._seed = seed
        self._on_postgres = on_postgres
        super().__init__()

    def _start(self) -> None:
        postgres = PostgresServer().start()
        self._ends.callback(postgres.stop)
        self.smtp.start()
        self._ends.callback(self.smtp.stop)
        self.to_monitor.start()
        self._ends.callback(self.to_monitor.stop)
        self.airflow = AirflowServer(
            DAGS,
            plugins_folder=PLUGINS,
            env=self.monitor.plugin_env(self.spool, self.to_monitor.url) | AIRFLOW,
            processes=PROCESSES,
            postgres_url=postgres.url(),
        )
        self.to_airflow = FaultyProxy(self.airflow.port, cuts(self._seed, "monitor to Airflow")).start()
        self._ends.callback(self.to_airflow.stop)
        self._ends.enter_context(self.airflow)
        if self._on_postgres:
            self.database = _new_database(postgres, "windsock")
        self.monitor.env |= airflow_env(self.to_airflow.url, self.airflow.username, self.airflow.password)
        self.monitor.env["WINDSOCK_DATABASE_URL"] = self.database
        self._ends.callback(self.monitor.stop)
        self.monitor.start()
        self._ends.callback(self._keep_logs)  # the first to be undone, while there still are logs

    def heal(self) -> None:
        """From now on the network and the mail server do what they should."""
        self.replies.healed = self.to_monitor.healed = self.to_airflow.healed = True

    def _keep_logs(self) -> None:
        """Airflow's own, before its home is removed."""
        for log in self.airflow.home.glob("*.log"):
            shutil.copy(log, self.folder)

    @property
    def edges(self) -> dict[str, FaultyProxy]:
        return {"plugin to monitor": self.to_monitor, "monitor to Airflow": self.to_airflow}


def _new_database(postgres: PostgresServer, name: str) -> str:
    """Make an empty database beside Airflow's; answers SQLAlchemy's address of it."""
    with psycopg.connect(postgres.url().replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    return postgres.url(name)
