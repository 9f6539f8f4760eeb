"""What airflow-init makes of the mail settings in .env."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[2] / "compose" / "airflow" / "init.py"
SINK = {"WINDSOCK_SMTP_HOST": "mailpit", "WINDSOCK_SMTP_PORT": "1025", "WINDSOCK_SMTP_SECURITY": "none"}
GMAIL = {
    "WINDSOCK_SMTP_HOST": "smtp.gmail.com",
    "WINDSOCK_SMTP_PORT": "587",
    "WINDSOCK_SMTP_SECURITY": "starttls",
    "WINDSOCK_SMTP_USERNAME": "me@gmail.com",
    "WINDSOCK_SMTP_PASSWORD": "abcd efgh ijkl mnop",
}


@pytest.fixture
def init(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module; it imports Airflow only where it is used."""
    spec = importlib.util.spec_from_file_location("windsock_compose_init", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("environ", "login", "extra"),
    [
        (SINK, None, {"from_email": "airflow@localhost", "disable_ssl": True, "disable_tls": True}),
        (GMAIL, "me@gmail.com", {"from_email": "me@gmail.com", "disable_ssl": True, "disable_tls": False}),
        (
            GMAIL | {"WINDSOCK_SMTP_SECURITY": "tls", "WINDSOCK_MAIL_FROM": "ops@example.com"},
            "me@gmail.com",
            {"from_email": "ops@example.com", "disable_ssl": False, "disable_tls": True},
        ),
    ],
)
def test_connection_says_what_env_says(
    init: ModuleType, environ: dict[str, str], login: str | None, extra: dict[str, object]
) -> None:
    assert init.smtp_connection(environ) == {
        "conn_type": "smtp",
        "host": environ["WINDSOCK_SMTP_HOST"],
        "port": environ["WINDSOCK_SMTP_PORT"],
        "login": login,
        "password": environ.get("WINDSOCK_SMTP_PASSWORD"),
        "extra": extra,
    }


@pytest.mark.parametrize(
    ("mistake", "named"),
    [
        ({"WINDSOCK_SMTP_SECURITY": "ssl"}, "WINDSOCK_SMTP_SECURITY is 'ssl'"),
        ({"WINDSOCK_SMTP_PASSWORD": ""}, "WINDSOCK_SMTP_USERNAME and WINDSOCK_SMTP_PASSWORD"),
    ],
)
def test_mistake_is_named(init: ModuleType, mistake: dict[str, str], named: str) -> None:
    with pytest.raises(SystemExit, match=named) as told:
        init.smtp_connection(GMAIL | mistake)
    assert "mnop" not in str(told.value)
