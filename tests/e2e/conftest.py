"""A real Airflow with the plugin, the monitor as a process, a real SMTP server: all but the network."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.airflow_server import AirflowServer
from tests.browser.conftest import browser, context, page, shot
from tests.every_end import every_end
from tests.monitor_process import MonitorProcess, airflow_env
from tests.smtp_server import SmtpServer

__all__ = ["browser", "context", "page", "shot"]

HERE = Path(__file__).parent
PLUGINS = HERE.parent.parent / "plugins"
RECIPIENT = "ops@example.com"
MAILED_SUCCESS = "succeeds"


@dataclass
class Stage:
    """All that a story needs."""

    airflow: AirflowServer
    monitor: MonitorProcess
    smtp: SmtpServer
    spool: Path


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("e2e")
    smtp = SmtpServer(folder).start()
    rules = every_end(folder, [RECIPIENT], MAILED_SUCCESS)
    monitor = MonitorProcess(folder, smtp.monitor_env() | rules | {"WINDSOCK_RECONCILE_INTERVAL": "2"})
    spool = folder / "spool"
    plugin = monitor.plugin_env(spool)
    try:
        with AirflowServer(HERE / "dags", plugins_folder=PLUGINS, env=plugin, triggerer=True) as airflow:
            monitor.env |= airflow_env(airflow.url, airflow.username, airflow.password)
            monitor.start()
            yield Stage(airflow, monitor, smtp, spool)
    finally:
        monitor.stop()
        smtp.stop()
