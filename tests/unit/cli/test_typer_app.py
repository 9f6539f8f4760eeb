"""The start of `windsock`: what it imports, and what it says without a command's module."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor import __version__
from monitor.cli.typer_app import COMMANDS, cli, every_command

SLOW = (
    "pydantic",
    "sqlalchemy",
    "alembic",
    "fastapi",
    "starlette",
    "httpx",
    "jinja2",
    "rich",
    "uvicorn",
    "apprise",
)
"""What takes longest to import of all that the commands need."""
LIST = """
import sys
from monitor.cli.main import main
try:
    main()
finally:
    print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def imported_by(*arguments: str, **environment: str) -> set[str]:
    """The packages that a command has imported when it ends."""
    command = [sys.executable, "-c", LIST, *arguments]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), **environment},
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_neither_help_nor_version_imports_what_is_slow(option: str) -> None:
    assert imported_by(option).isdisjoint(SLOW)


def test_check_imports_only_what_it_tries(tmp_path: Path) -> None:
    """Settings and rules are pydantic's. No database, no Airflow and no mail server are set here."""
    found = imported_by("check", WINDSOCK_HOME=str(tmp_path), WINDSOCK_AUTH="none", WINDSOCK_PORT="0")
    assert "pydantic" in found
    assert found.isdisjoint(set(SLOW) - {"pydantic"})


def test_the_version_is_the_distributions() -> None:
    done = CliRunner().invoke(cli, ["--version"])
    assert (done.exit_code, done.output) == (0, f"windsock-monitor {__version__}\n")


def test_the_list_names_every_command_with_a_whole_sentence() -> None:
    done = CliRunner().invoke(cli, ["--help"], env={"COLUMNS": "80"})
    for name, (_, sentence) in COMMANDS.items():
        assert f"  {name:<12}{sentence}" in done.output
    assert set(every_command().commands) == set(COMMANDS)


def test_a_mistyped_command_is_answered_with_the_near_one() -> None:
    done = CliRunner().invoke(cli, ["chekc"])
    assert done.exit_code == 2
    assert "Did you mean 'check'?" in done.output
