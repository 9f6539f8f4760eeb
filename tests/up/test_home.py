"""The home: its secrets are made once and are nobody else's; what is wrong with it is said."""

import base64
import json
import os
import stat
from pathlib import Path

import pytest

from monitor.cli.up.home import Home, load_secrets, open_home
from monitor.cli.up.processes import CannotStart
from monitor.settings_loading import load_settings


@pytest.fixture
def home(tmp_path: Path) -> Home:
    with open_home(tmp_path / "home") as (opened, _):
        return opened


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_made_once(home: Home) -> None:
    first = load_secrets(home)
    assert load_secrets(home) == first


def test_secrets_are_private(home: Home) -> None:
    load_secrets(home)
    assert _mode(home.secrets) == _mode(home.airflow_passwords) == 0o600
    assert _mode(home.root) == 0o700


def test_secrets_that_were_readable_are_made_private(home: Home) -> None:
    load_secrets(home)
    home.secrets.chmod(0o644)
    load_secrets(home)
    assert _mode(home.secrets) == 0o600


def test_secrets_fit_what_takes_them(home: Home) -> None:
    made = load_secrets(home)
    assert load_settings(None, auth="none", ingest_secret=made.ingest_secret).ingest_secret
    assert len(base64.urlsafe_b64decode(made.fernet_key)) == 32
    assert json.loads(home.airflow_passwords.read_text()) == {"admin": made.airflow_password}


def test_a_secret_that_is_missing_is_added(home: Home) -> None:
    first = load_secrets(home)
    kept = json.loads(home.secrets.read_text())
    del kept["session_secret"]
    home.secrets.write_text(json.dumps(kept))
    second = load_secrets(home)
    assert second.session_secret != first.session_secret
    assert second.fernet_key == first.fernet_key


@pytest.mark.parametrize(("text", "what"), [("{", "is not JSON"), ('["a"]', "not a JSON object")])
def test_broken_secrets_are_not_replaced(home: Home, text: str, what: str) -> None:
    home.secrets.write_text(text)
    with pytest.raises(CannotStart, match=what):
        load_secrets(home)
    assert home.secrets.read_text() == text


def test_a_home_that_is_in_use_is_refused(tmp_path: Path) -> None:
    with (
        open_home(tmp_path),
        pytest.raises(CannotStart, match=rf"process {os.getpid()}\)"),
        open_home(tmp_path),
    ):
        pass
    with open_home(tmp_path):
        pass


def test_a_home_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(CannotStart, match=r"cannot write .*/file.*: Not a directory.*WINDSOCK_HOME"),
        open_home(tmp_path / "file" / "home"),
    ):
        pass
