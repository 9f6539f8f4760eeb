"""Secrets from files: the line end goes, what cannot be meant is named, and no secret is shown."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from monitor.errors import SettingsError
from monitor.secret_files import MAX_BYTES, PREFIX, SECRETS, read_secrets
from monitor.settings import Settings
from monitor.settings_loading import load_settings
from tests.unit.conftest import make_secret

SECRET = "hunter2"


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    """A file for each secret, named in the environment."""
    found = {}
    for name in SECRETS:
        path = tmp_path / name
        path.write_text(f"{SECRET} {name}\n")
        found[f"{PREFIX}{name.upper()}_FILE"] = str(path)
    return found


def test_every_secret_comes_from_its_file_without_the_line_end(environment: Mapping[str, str]) -> None:
    assert read_secrets(environment) == {name: f"{SECRET} {name}" for name in SECRETS}


def test_every_secret_of_the_settings_may_come_from_a_file() -> None:
    secret = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert secret <= set(SECRETS)


@pytest.mark.parametrize(("content", "value"), [("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a "), ("a", "a")])
def test_one_line_end_goes_and_nothing_else(tmp_path: Path, content: str, value: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content.encode())
    assert read_secrets({"WINDSOCK_SMTP_PASSWORD_FILE": str(path)}) == {"smtp_password": value}


def test_an_empty_file_and_an_empty_name_are_not_set(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("\n")
    assert read_secrets({"WINDSOCK_SMTP_PASSWORD_FILE": str(tmp_path / "secret")}) == {}
    assert read_secrets({"WINDSOCK_SMTP_PASSWORD_FILE": ""}) == {}


def test_both_set_are_both_named(environment: Mapping[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"SMTP_PASSWORD and WINDSOCK_SMTP_PASSWORD_FILE") as caught:
        read_secrets({**environment, "WINDSOCK_SMTP_PASSWORD": "other"})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"\xff\xfe", "UTF-8"), (b"x" * (MAX_BYTES + 1), "longer than")],
)
def test_a_file_that_cannot_be_meant_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=said) as caught:
        read_secrets({"WINDSOCK_SESSION_SECRET_FILE": str(path)})
    assert "WINDSOCK_SESSION_SECRET_FILE" in str(caught.value)
    assert str(path) in str(caught.value)


def test_settings_are_loaded_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = [make_secret(), make_secret()]
    (tmp_path / "ingest").write_text(" ".join(secrets) + "\n")
    (tmp_path / ".env").write_text(f"WINDSOCK_INGEST_SECRET_FILE={tmp_path}/ingest\n")
    monkeypatch.setenv("WINDSOCK_AUTH", "none")
    settings = load_settings(tmp_path / ".env")
    assert [secret.get_secret_value() for secret in settings.ingest_secret] == secrets


def test_a_wrong_secret_in_a_file_is_named_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ingest").write_text(SECRET)
    monkeypatch.setenv("WINDSOCK_INGEST_SECRET_FILE", str(tmp_path / "ingest"))
    with pytest.raises(SettingsError, match="WINDSOCK_INGEST_SECRET") as caught:
        load_settings(None, auth="none")
    assert SECRET not in str(caught.value)
