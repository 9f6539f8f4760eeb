"""What make runs of the tests: each folder, and each test once."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCKER = {"compose"}
COMMANDS_OF_THEIR_OWN = {"replicas"}  # make test-replicas
SECONDS = 300


def commands(goal: str) -> list[str]:
    """The lines of pytest that make would run, of the make that it calls too."""
    # Without what a make that runs this test was told: its variables reach every make below it.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    done = subprocess.run(
        ["make", "-n", goal],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return re.findall(r"-m pytest .*", done.stdout.replace("\\\n", " "))


def folders(lines: list[str]) -> list[tuple[str, str]]:
    """Which of the tests' folders are run, and which marks of each."""
    found = []
    for line in lines:
        marked = re.search(r"-m '?(not slow|slow)", line)
        assert marked, line
        found += [(folder, marked[1]) for folder in sorted(set(re.findall(r"tests/(\w+)", line)))]
    return found


def test_every_folder_is_run_once() -> None:
    with_tests = {file.parent.name for file in (REPOSITORY / "tests").glob("*/test_*.py")}
    wanted = with_tests - DOCKER - COMMANDS_OF_THEIR_OWN

    fast, everything = folders(commands("test")), folders(commands("test-all"))

    assert sorted(fast) == [(folder, "not slow") for folder in sorted(wanted)]
    assert sorted(everything) == sorted(fast + [(folder, "slow") for folder in wanted])


SAMPLE = """
import pytest

@pytest.fixture
def postgres(): ...
@pytest.fixture
def browser(): ...
@pytest.fixture(params=["sqlite", "postgresql"])
def database(request): ...

def test_plain(): ...
def test_on(database): ...
def test_server(postgres): ...
def test_page(browser): ...
@pytest.mark.slow
def test_long(): ...
"""


@pytest.mark.parametrize(
    ("folder", "slow"),
    [
        ("browser", {"test_on[postgresql]", "test_server", "test_page", "test_long"}),
        ("unit", {"test_on[postgresql]", "test_server", "test_long"}),
    ],
)
def test_what_needs_a_server_is_slow_by_itself(tmp_path: Path, folder: str, slow: set[str]) -> None:
    (tmp_path / "conftest.py").write_text((REPOSITORY / "tests" / "conftest.py").read_text())
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow: slow\n")
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "test_sample.py").write_text(SAMPLE)

    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "slow", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )

    assert {line.partition("::")[2] for line in collected.stdout.splitlines() if "::" in line} == slow
