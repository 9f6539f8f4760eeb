"""`windsock check` against real servers: what it proves, and the remedy that it names where it cannot."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from starlette.responses import JSONResponse

from monitor.cli.check import check
from monitor.cli.check_files import CheckResult
from monitor.database.engine import Database
from monitor.settings import Settings
from monitor.settings_loading import load_settings
from tests import smtp_server
from tests.ports import free_port
from tests.unit.airflow_api_fake import PASSWORD, USERNAME, FakeAirflow, serving
from tests.unit.conftest import FakeClock, Live, make_secret
from tests.unit.hostile_smtp import HostileServer, Script


@pytest.fixture
def fake(clock: FakeClock) -> Iterator[FakeAirflow]:
    with serving(FakeAirflow(clock, dags=["etl", "release"])) as fake:
        yield fake


@pytest.fixture
def mail(tmp_path: Path) -> Iterator[smtp_server.SmtpServer]:
    server = smtp_server.SmtpServer(tmp_path).start()
    yield server
    server.stop()


@pytest.fixture
def free(settings: Settings) -> Settings:
    """The settings of a monitor that could be started: on a port that nobody has."""
    return settings.model_copy(update={"port": free_port(), "notification_email_to": ("ops@example.com",)})


def look(settings: Settings, **changes: Any) -> dict[str, CheckResult]:
    changed = settings.model_copy(update=changes)
    return {finding.name: finding for finding in asyncio.run(check(changed))}


def airflow_settings(fake: FakeAirflow, password: str = PASSWORD) -> dict[str, Any]:
    return {
        "airflow_url": fake.url,
        "airflow_username": USERNAME,
        "airflow_password": SecretStr(password),
        "airflow_timeout": 2.0,
    }


def mail_settings(mail: smtp_server.SmtpServer, password: str = smtp_server.PASSWORD) -> dict[str, Any]:
    return {
        "smtp_host": "127.0.0.1",
        "smtp_port": mail.port,
        "smtp_username": smtp_server.USERNAME,
        "smtp_password": SecretStr(password),
        "smtp_ca_file": mail.ca_file,
        "smtp_timeout": 5.0,
    }


def test_a_template_that_takes_too_many_steps_is_named(free: Settings, tmp_path: Path) -> None:
    loop = "{% block subject %}x{% endblock %}{% for a in range(9999) %}{{ range(9999)|sum }}{% endfor %}"
    (tmp_path / "run_failed.txt.j2").write_text(loop)

    finding = look(free, templates=tmp_path)["templates"]

    assert not finding.ok
    assert "your template run_failed: TooMuchWork: it takes more than 300,000 steps" in finding.detail
    assert "(line 1)" in finding.detail
    assert "windsock preview" in finding.remedy


def test_before_the_first_start_nothing_is_wrong_and_nothing_is_made(free: Settings) -> None:
    findings = look(free)

    assert list(findings) == [
        "database",
        "airflow",
        "mail",
        "port",
        "ingest",
        "sessions",
        "tokens",
        "settings",
        "rules",
        "templates",
    ]
    assert all(finding.ok and not finding.remedy for finding in findings.values()), findings
    assert "first start" in findings["database"].detail
    assert "free" in findings["port"].detail
    assert "not tried" in findings["ingest"].detail
    assert not list(free.home.iterdir())


def test_every_connection_of_a_running_monitor_is_proved(
    live: Live, fake: FakeAirflow, mail: smtp_server.SmtpServer
) -> None:
    findings = look(live.settings, port=live.port, **airflow_settings(fake), **mail_settings(mail))

    assert all(finding.ok for finding in findings.values()), findings
    assert "2 DAGs" in findings["airflow local"].detail
    assert "Airflow 3.3.2" in findings["airflow local"].detail
    assert smtp_server.USERNAME in findings["mail"].detail
    assert "answers" in findings["port"].detail
    assert "takes what is signed" in findings["ingest"].detail
    assert "schema" in findings["database"].detail
    assert mail.mails == []


def test_a_running_monitor_with_another_secret(live: Live) -> None:
    finding = look(live.settings, port=live.port, ingest_secret=(SecretStr(make_secret()),))["ingest"]

    assert not finding.ok
    assert "401" in finding.detail
    assert "WINDSOCK_INGEST_SECRET" in finding.remedy


def test_no_ingest_secret(free: Settings) -> None:
    finding = look(free, ingest_secret=())["ingest"]

    assert not finding.ok
    assert "windsock secret" in finding.remedy


@pytest.mark.parametrize("host", ["::1", "no such host", "a" * 70 + ".example", "127.0.0.1"])
def test_no_host_ends_in_a_traceback(free: Settings, host: str) -> None:
    finding = look(free, host=host)["port"]
    assert finding.ok == (host in ("::1", "127.0.0.1"))
    assert look(free, host=host, port=0)["port"].ok


def test_a_port_that_something_else_has(free: Settings) -> None:
    with socket.create_server(("127.0.0.1", free.port)):
        finding = look(free)["port"]

    assert not finding.ok
    assert str(free.port) in finding.detail
    assert "WINDSOCK_PORT" in finding.remedy


def test_a_wrong_airflow_password_is_named_and_not_shown(free: Settings, fake: FakeAirflow) -> None:
    finding = look(free, **airflow_settings(fake, "not-it"))["airflow local"]

    assert not finding.ok
    assert "WINDSOCK_AIRFLOW_PASSWORD" in finding.detail
    assert "not-it" not in str(finding)


def test_an_airflow_whose_secrets_differ(free: Settings, fake: FakeAirflow) -> None:
    fake.failures = [("/dags", JSONResponse({"detail": "Invalid JWT token"}, 403)) for _ in range(2)]

    finding = look(free, **airflow_settings(fake))["airflow local"]

    assert not finding.ok
    assert "JWT secrets differ" in finding.detail


def test_a_user_that_sees_no_dag(free: Settings, fake: FakeAirflow) -> None:
    fake.dags = []

    finding = look(free, **airflow_settings(fake))["airflow local"]

    assert not finding.ok
    assert USERNAME in finding.remedy


def test_an_airflow_that_is_not_there(free: Settings, fake: FakeAirflow) -> None:
    url = f"http://127.0.0.1:{free_port()}"

    finding = look(free, **airflow_settings(fake) | {"airflow_url": url})["airflow local"]

    assert not finding.ok
    assert url in finding.detail
    assert "api-server" in finding.remedy


def test_a_wrong_mail_password_is_named_and_not_shown(free: Settings, mail: smtp_server.SmtpServer) -> None:
    finding = look(free, **mail_settings(mail, "not-it"))["mail"]

    assert not finding.ok
    assert "refused the login" in finding.detail
    assert "not-it" not in str(finding)


def test_a_mail_server_that_is_not_trusted(free: Settings, mail: smtp_server.SmtpServer) -> None:
    finding = look(free, **mail_settings(mail) | {"smtp_ca_file": None})["mail"]

    assert not finding.ok
    assert "WINDSOCK_SMTP_CA_FILE" in finding.detail


def test_a_ca_file_that_is_none(free: Settings, mail: smtp_server.SmtpServer, tmp_path: Path) -> None:
    finding = look(free, **mail_settings(mail) | {"smtp_ca_file": tmp_path / "missing.pem"})["mail"]

    assert not finding.ok
    assert "WINDSOCK_SMTP_CA_FILE" in finding.remedy


@pytest.mark.parametrize(
    ("script", "ok", "words", "remedy"),
    [
        (
            dict.fromkeys(("EHLO", "HELO"), "501 no such name"),
            False,
            "WINDSOCK_SMTP_HELO",
            "WINDSOCK_SMTP_HOST",
        ),
        (
            {"RCPT": "504 5.5.2 <m-1>: Helo command rejected"},
            False,
            "WINDSOCK_SMTP_HELO",
            "WINDSOCK_SMTP_HOST",
        ),
        ({"RCPT": "554 5.7.1 Relay access denied"}, False, "WINDSOCK_SMTP_USERNAME", "mails wait"),
        ({"RCPT": "550 5.1.1 User unknown"}, False, "User unknown", "NOTIFICATION_EMAIL_TO"),
        ({"RCPT": "450 4.2.0 Greylisted"}, True, "only later: 450 4.2.0 Greylisted", ""),
        ({}, True, "without a login", ""),
    ],
    ids=str,
)
def test_a_mail_server_that_refuses_the_session(
    free: Settings, script: Script, ok: bool, words: str, remedy: str
) -> None:
    async def looked() -> CheckResult:
        async with HostileServer(script).running() as server:
            at = {"smtp_host": "127.0.0.1", "smtp_port": server.port, "smtp_security": "none"}
            changed = free.model_copy(update=at | {"notification_email_to": ("ops@example.com",)})
            (finding,) = (finding for finding in await check(changed) if finding.name == "mail")
            assert server.messages == []
            return finding

    finding = asyncio.run(looked())
    assert finding.ok is ok
    assert words in finding.detail
    assert remedy in finding.remedy


def test_gmail_is_told_about_app_passwords(free: Settings) -> None:
    # A name that no resolver knows, in Gmail's domain by its end only: nothing is asked of Gmail.
    finding = look(free, smtp_host="invalid..gmail.com", smtp_timeout=2.0)["mail"]

    assert not finding.ok
    assert "app password" in finding.remedy


def test_a_database_of_another_schema(free: Settings) -> None:
    database = Database(free.database)
    database.write_now(lambda connection: connection.execute(text("CREATE TABLE other (id INTEGER)")))
    database.close()

    finding = look(free)["database"]

    assert not finding.ok
    assert "windsock migrate" in finding.remedy


def test_a_database_that_is_not_there_is_shown_without_its_password(tmp_path: Path) -> None:
    settings = load_settings(
        env_file=None,
        home=tmp_path,
        port=free_port(),
        auth="none",
        database_url=f"postgresql+psycopg://windsock:s3cret@127.0.0.1:{free_port()}/windsock",
    )

    finding = look(settings)["database"]

    assert not finding.ok
    assert "WINDSOCK_DATABASE_URL" in finding.remedy
    assert "s3cret" not in str(finding)
