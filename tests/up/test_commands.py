"""The commands of docs/tutorial.md, against the monitor that `windsock up` set up, found by its settings."""

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from stat import S_IMODE

import httpx
import pytest

from monitor.cli.up.home import Home, keep_settings, open_home
from monitor.errors import SettingsError
from monitor.settings_loading import UP_FILE, load_settings_of_up
from tests.monitor_process import PYTHONPATH, REPOSITORY, WINDSOCK, MonitorProcess
from tests.sample import run_event
from tests.unit.airflow_api_fake import PASSWORD, USERNAME, FakeAirflow, serving
from tests.unit.conftest import FakeClock, sign

COMMAND = "$ .windsock/env/monitor/bin/windsock "
TUTORIAL = (REPOSITORY / "docs" / "tutorial.md").read_text()
COMMANDS = [line.removeprefix(COMMAND) for line in TUTORIAL.splitlines() if line.startswith(COMMAND)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.chdir(tmp_path)
    for name in [one for one in os.environ if one.startswith(("WINDSOCK_", "NOTIFICATION_"))]:
        monkeypatch.delenv(name)
    with open_home(tmp_path / ".windsock") as (opened, _):
        yield opened


@pytest.fixture
def monitor(home: Home) -> Iterator[MonitorProcess]:
    clock = FakeClock()
    with serving(FakeAirflow(clock, dags=["etl"])) as fake:
        env = {
            "WINDSOCK_HOME": str(home.root),
            "WINDSOCK_AUTH": "airflow",
            "WINDSOCK_AIRFLOW_URL": fake.url,
            "WINDSOCK_AIRFLOW_USERNAME": USERNAME,
            "WINDSOCK_AIRFLOW_PASSWORD": PASSWORD,
            "NOTIFICATION_EMAIL_TO": "ops@example.com",
        }
        process = MonitorProcess(home.root.parent, env)
        keep_settings(home, process.env)
        try:
            yield process.start()
        finally:
            process.stop()


@pytest.mark.slow
def test_every_command_of_the_tutorial_works(monitor: MonitorProcess) -> None:
    event = run_event("failed")
    body = json.dumps([event])
    httpx.post(
        f"{monitor.url}/api/v1/events", content=body, headers=sign(monitor.secret, body)
    ).raise_for_status()
    assert {line.split()[0] for line in COMMANDS} >= {"check", "tail", "explain", "token"}
    for line in COMMANDS:
        words = shlex.split(line.replace("EVENT_ID", event["id"]))
        done = subprocess.run(
            [WINDSOCK, *words],
            cwd=monitor.home,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": PYTHONPATH},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        assert "settings of `windsock up`, from .windsock/up.env" in done.stderr


def test_the_settings_are_private_and_hold_what_is_awkward(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    awkward = 'it\'s a \\ ${HOME} "#" é'
    told = {
        "WINDSOCK_AIRFLOW_URL": "http://127.0.0.1:1",
        "WINDSOCK_AIRFLOW_USERNAME": "admin",
        "PATH": "/bin",
    }
    keep_settings(
        home, {**told, "WINDSOCK_AIRFLOW_PASSWORD": awkward, "NOTIFICATION_EMAIL_TO": "a@x.org,b@x.org"}
    )
    assert S_IMODE(home.settings.stat().st_mode) == 0o600
    settings, file = load_settings_of_up()
    assert file == Path(".windsock") / UP_FILE
    assert settings.airflow_password is not None
    assert settings.airflow_password.get_secret_value() == awkward
    assert settings.notification_email_to == ("a@x.org", "b@x.org")
    monkeypatch.setenv("WINDSOCK_PORT", "8099")
    assert load_settings_of_up()[0].port == 8099


@pytest.mark.parametrize("deciding", ["WINDSOCK_AUTH=none", "WINDSOCK_AIRFLOW_URL=http://127.0.0.1:2"])
def test_settings_of_ones_own_go_before_them(home: Home, deciding: str) -> None:
    keep_settings(home, {"WINDSOCK_AIRFLOW_URL": "http://127.0.0.1:1", "WINDSOCK_PORT": "1"})
    Path(".env").write_text(f"{deciding}\nWINDSOCK_AIRFLOW_USERNAME=u\nWINDSOCK_AIRFLOW_PASSWORD=p\n")
    settings, file = load_settings_of_up()
    assert (file, settings.port) == (None, 8090)


def test_without_them_what_is_missing_is_said(home: Home) -> None:
    with pytest.raises(SettingsError, match="airflow_url"):
        load_settings_of_up()
