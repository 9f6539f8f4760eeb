"""What commands print of names and words that others gave: nothing in it commands a terminal."""

import io

import pytest
from rich.console import Console
from typer.testing import CliRunner

from monitor.cli.tail import _OutageReporter
from monitor.cli.typer_app import cli
from monitor.cli.up.report import Screen
from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.event_log.append import append
from monitor.events.event import parse_event
from monitor.settings import Settings
from tests.sample import run_event
from tests.unit.conftest import NOW

ATTACK = "etl \x1b]0;a title\x07\x1b[2J\x1b[1;1Hall is well\x1b[8m\x9b31m\r\u202e"
SHOWN = "etl all is well"


@pytest.fixture
def event_id(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> str:
    settings.home.mkdir(parents=True, exist_ok=True)
    for name, value in {"HOME": str(settings.home), "AUTH": "none", "PORT": "0"}.items():
        monkeypatch.setenv(f"WINDSOCK_{name}", value)
    database = Database(settings.database)
    migrate(database)
    event = parse_event(run_event("failed", dag_id=ATTACK))
    database.write_now(lambda connection: append(connection, [event], NOW))
    database.close()
    rules = "rules:\n  - {name: r, match: {type: airflow.dag_run.failed}, to: ops@example.com}\n"
    (settings.home / "windsock.yaml").write_text(rules)
    return event.id


def printed(*command: str) -> str:
    done = CliRunner().invoke(cli, list(command), color=True)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.output


@pytest.mark.parametrize("command", ["explain", "try-rules"])
def test_what_an_event_holds_commands_no_terminal(command: str, event_id: str, settings: Settings) -> None:
    rules = str(settings.home / "windsock.yaml")
    text = printed(command, event_id) if command == "explain" else printed(command, rules, "--days", "9999")
    assert all(line.isprintable() for line in text.splitlines()), text
    assert SHOWN in text


def test_what_a_setting_or_an_argument_holds_commands_no_terminal(event_id: str) -> None:
    text = printed("explain", "task:\x1b[2Jx")
    assert "\x1b[2J" not in text


def test_what_the_first_run_and_tail_say_commands_no_terminal() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=False, width=200)
    Screen(console).say(ATTACK)
    Screen(console).refuse(ATTACK)
    telling = _OutageReporter("http://monitor", console)
    telling.on_cursor("e-1")
    telling.on_interruption(ATTACK)
    assert all(line.isprintable() for line in out.getvalue().splitlines())
    assert out.getvalue().count(SHOWN) == 3
