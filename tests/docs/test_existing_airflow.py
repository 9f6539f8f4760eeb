"""docs/existing-airflow.md, followed as it stands by somebody whose Airflow is fresh and knows no Windsock.

Of its lines only what a reader mends is changed: where Airflow is, the ports, the mail server's.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from dotenv import dotenv_values

from tests import wait
from tests.airflow_environment import AIRFLOW, ENVIRONMENT, REPOSITORY
from tests.airflow_server import START_SECONDS, AirflowServer
from tests.docs.page import Shell, commands
from tests.ports import free_port
from tests.sessions import Sessions
from tests.smtp_server import SmtpServer

FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
PREPARE_SECONDS = 300.0
MAIL_SECONDS = 60.0
STOP_SECONDS = 20.0
SERVE = "windsock serve"
RESTART_AFTER = "plugin-env"  # "Then restart every process of Airflow"

pytestmark = pytest.mark.slow


class ExistingAirflow(AirflowServer):
    """With FAB sign-in, a DAG, and no Windsock."""

    def prepare(self) -> None:
        migrate = [str(AIRFLOW), "fab-db", "migrate"]
        subprocess.run(
            migrate, env=self.environment, check=True, capture_output=True, timeout=PREPARE_SECONDS
        )


@pytest.fixture
def airflow(tmp_path: Path) -> Iterator[ExistingAirflow]:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "theirs.py").write_text("from airflow.sdk import DAG\ntheirs = DAG('theirs', schedule=None)\n")
    airflow = ExistingAirflow(dags, env={"AIRFLOW__CORE__AUTH_MANAGER": FAB})
    with airflow:
        wait.until(lambda: airflow.query("SELECT 1 FROM dag"), "their DAG", START_SECONDS)
        yield airflow


@pytest.fixture
def smtp(tmp_path: Path) -> Iterator[SmtpServer]:
    server = SmtpServer(tmp_path).start()
    yield server
    server.stop()


def test_every_command_of_the_page_leads_to_the_mail(
    airflow: ExistingAirflow, smtp: SmtpServer, tmp_path: Path
) -> None:
    reader = Reader(airflow, smtp, tmp_path)
    try:
        for block in commands("existing-airflow.md"):
            reader.follow(block)
        wait.until(lambda: smtp.mails, "the mail at the mail server", MAIL_SECONDS)
    finally:
        reader.leave()
    (mail,) = smtp.mails
    assert mail.recipients == ["you@example.com"]
    assert "windsock_hello" in mail.message["Subject"]
    body = mail.message.get_body(("plain",))
    assert body is not None
    assert "Hello from Windsock" in body.get_content()


class Reader:
    """Who follows the page, with a home folder of their own."""

    def __init__(self, airflow: ExistingAirflow, smtp: SmtpServer, folder: Path) -> None:
        self.airflow = airflow
        self.home = folder / "home"
        self.home.mkdir()
        port = str(free_port())
        self.mine = {
            "/opt/airflow/venv/bin/python": str(ENVIRONMENT / "bin" / "python"),
            "localhost:8080": f"127.0.0.1:{airflow.port}",
            "localhost:8090": f"127.0.0.1:{port}",
            "SMTP_HOST=smtp.example.com": "SMTP_HOST=127.0.0.1",
            "SMTP_PORT=587": f"SMTP_PORT={smtp.port}",
        }
        env = airflow.environment | {"HOME": str(self.home), "WINDSOCK_PORT": port}
        env["WINDSOCK_SMTP_CA_FILE"] = str(smtp.ca_file)  # a server on the internet needs none
        self.shell = Shell(folder, REPOSITORY, env | _of_make())
        self.env = env
        self.monitor = Sessions()

    def follow(self, block: str) -> None:
        for theirs, mine in self.mine.items():
            block = block.replace(theirs, mine)
        if SERVE in block:
            self.serve(block)
        else:
            self.shell.run(block)
        if RESTART_AFTER in block:
            self.restart_airflow()

    def serve(self, block: str) -> None:
        """In a terminal of its own: the one that ran is stopped first."""
        self.monitor.stop(STOP_SECONDS)
        log = self.home.parent / "monitor.log"
        self.monitor.start("monitor", ["bash", "-euc", block], self.env, REPOSITORY, log)

    def restart_airflow(self) -> None:
        told = dotenv_values(self.home / "windsock" / "airflow.env")
        assert len(told) == 3
        self.airflow.environment |= {name: value or "" for name, value in told.items()}
        before = datetime.now(timezone.utc)
        for component in self.airflow.commands:
            self.airflow.kill(component)
            self.airflow.start_component(component)
        started = dict.fromkeys(self.airflow.commands, before)
        self.airflow.wait_until(lambda: self.airflow.healthy(started), START_SECONDS, "a healthy Airflow")

    def leave(self) -> None:
        self.monitor.stop(STOP_SECONDS)
        self.shell.close()


def _of_make() -> dict[str, str]:
    """What `make` was told of the package index, where this test is not run by a person."""
    return {name: value for name, value in os.environ.items() if re.match(r"UV_|PIP_|SSL_", name)}
