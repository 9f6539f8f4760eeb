"""What the processes are told: the user's own settings where they are the user's, ours where they must be."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.cli.up.airflow import clean_base, find_airflow, smtp_connection
from monitor.cli.up.home import Home, open_home
from monitor.cli.up.processes import CannotStart
from monitor.cli.up.setup import Options, Setup, prepare
from monitor.errors import SettingsError


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with open_home(tmp_path / "home") as (opened, _):
        yield opened


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with no `.env`, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for name in ("WINDSOCK_HOME", "WINDSOCK_PORT", "NOTIFICATION_EMAIL_TO"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _airflow(folder: Path, version: str) -> Path:
    """A virtual environment that says it holds this Airflow."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "airflow").touch()
    info = folder / "lib" / "python3.12" / "site-packages" / f"apache_airflow_core-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: apache-airflow-core\nVersion: {version}\n")
    return folder


def _prepare(home: Home, environ: dict[str, str] | None = None) -> Setup:
    airflow = home.root.parent / "env"
    if not airflow.exists():
        _airflow(airflow, "3.3.2")
    setup = prepare(Options(airflow, True, 60, 0, environ or {"PATH": "/usr/bin"}), home)
    for port in setup.ports.values():
        port.release()
    return setup


def test_both_sides_are_told_the_same(home: Home) -> None:
    setup = _prepare(home)
    airflow, monitor = setup.airflow_env, setup.monitor_env
    assert airflow["AIRFLOW__WINDSOCK__INGEST_SECRET"] == monitor["WINDSOCK_INGEST_SECRET"]
    assert airflow["AIRFLOW__WINDSOCK__MONITOR_URL"] == f"http://127.0.0.1:{monitor['WINDSOCK_PORT']}"
    assert airflow["AIRFLOW__API__BASE_URL"] == monitor["WINDSOCK_AIRFLOW_URL"]
    assert airflow["NOTIFICATION_EMAIL_TO"] == monitor["NOTIFICATION_EMAIL_TO"] == "you@example.com"
    smtp = json.loads(airflow["AIRFLOW_CONN_SMTP_DEFAULT"])
    assert (smtp["host"], str(smtp["port"])) == ("127.0.0.1", monitor["WINDSOCK_MAILBOX_SMTP_PORT"])


def test_everything_listens_on_the_loopback_address(home: Home) -> None:
    setup = _prepare(home, {"PATH": "/usr/bin", "WINDSOCK_HOST": "0.0.0.0"})  # noqa: S104 (must not be taken)
    assert setup.monitor_env["WINDSOCK_HOST"] == setup.airflow_env["AIRFLOW__API__HOST"] == "127.0.0.1"


def test_the_users_airflow_settings_stay_outside() -> None:
    mine = {
        "AIRFLOW__CORE__EXECUTOR": "Nonsense",
        "AIRFLOW_HOME": "/mine",
        "PYTHONPATH": "/mine",
        "LANG": "C",
    }
    base = clean_base({**mine, "http_proxy": "http://proxy:3128", "no_proxy": "internal"})
    assert base == {
        "LANG": "C",
        "http_proxy": "http://proxy:3128",
        "no_proxy": "internal,127.0.0.1,localhost",
        "NO_PROXY": "127.0.0.1,localhost",
    }


def test_a_mail_server_in_dotenv_takes_both_mails(home: Home, elsewhere: Path) -> None:
    (elsewhere / ".env").write_text(
        "WINDSOCK_SMTP_HOST=smtp.gmail.com\nWINDSOCK_SMTP_USERNAME=me@gmail.com\n"
        "WINDSOCK_SMTP_PASSWORD='abcd efgh'\nNOTIFICATION_EMAIL_TO=a@example.org, b@example.org\n"
    )
    setup = _prepare(home)
    assert json.loads(setup.airflow_env["AIRFLOW_CONN_SMTP_DEFAULT"]) == {
        "conn_type": "smtp",
        "host": "smtp.gmail.com",
        "port": 587,
        "login": "me@gmail.com",
        "password": "abcd efgh",
        "extra": {
            "from_email": "me@gmail.com",
            "timeout": 20,
            "retry_limit": 1,
            "disable_ssl": True,
            "disable_tls": False,
        },
    }
    assert setup.airflow_env["NOTIFICATION_EMAIL_TO"] == "a@example.org,b@example.org"
    assert setup.settings.smtp_host == "smtp.gmail.com"
    assert "WINDSOCK_MAILBOX_SMTP_PORT" not in setup.monitor_env


def test_a_mail_server_with_tls_from_the_first_byte(home: Home, elsewhere: Path) -> None:
    (elsewhere / ".env").write_text("WINDSOCK_SMTP_HOST=mx.example.org\nWINDSOCK_SMTP_SECURITY=tls\n")
    extra = smtp_connection(_prepare(home).settings)["extra"]
    assert isinstance(extra, dict)
    assert (extra["disable_ssl"], extra["disable_tls"]) == (False, True)


def test_settings_for_other_ways_of_running_do_not_count(home: Home, elsewhere: Path) -> None:
    (elsewhere / ".env").write_text(
        "WINDSOCK_DATABASE_URL=postgresql+psycopg://postgres/x\nWINDSOCK_AIRFLOW_URL=http://api-server:8080\n"
        "WINDSOCK_INGEST_SECRET=\nWINDSOCK_AUTH=none\n"
    )
    setup = _prepare(home)
    assert setup.settings.database.startswith("sqlite:")
    assert setup.monitor_env["WINDSOCK_DATABASE_URL"] == ""
    assert setup.settings.auth == setup.monitor_env["WINDSOCK_AUTH"] == "airflow"
    assert str(setup.settings.airflow_url).startswith("http://127.0.0.1:")


def test_a_wrong_setting_is_named(home: Home, elsewhere: Path) -> None:
    (elsewhere / ".env").write_text("WINDSOCK_RETENTION_DAYS=often\n")
    with pytest.raises(SettingsError, match="WINDSOCK_RETENTION_DAYS"):
        _prepare(home)


def test_no_airflow_is_said(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=r"nowhere holds no Airflow.*make run"):
        find_airflow(tmp_path / "nowhere")


@pytest.mark.parametrize("version", ["2.11.0", "4.0.0"])
def test_an_airflow_of_another_age_is_refused(tmp_path: Path, version: str) -> None:
    with pytest.raises(CannotStart, match=rf"is {version}; Windsock needs"):
        find_airflow(_airflow(tmp_path / "env", version))


def test_the_version_is_found(tmp_path: Path) -> None:
    assert find_airflow(_airflow(tmp_path / "env", "3.1.8")) == "3.1.8"
