"""The commands of `make help`, and the container for editors, which calls one of them."""

import json
import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
WIDTH = 100  # of a line of `make help`: it fits a terminal beside an editor
GROUPS = ["run", "check", "test", "bench", "release"]
TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)


def make(*arguments: str) -> str:
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("goal", ["help", "help-all"])
def test_each_line_is_short_and_in_a_group(goal: str) -> None:
    lines = make(goal).splitlines()
    assert [line for line in lines if not line.startswith("  ")] == GROUPS
    for line in lines:
        assert len(line) <= WIDTH, line
        assert line in GROUPS or re.fullmatch(r"  make [a-z-]+ +\S.*", line), line


def test_every_described_target_is_in_the_long_list_once() -> None:
    described = re.findall(r"^([a-z-]+):.* ## ", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    listed = re.findall(r"^  make ([a-z-]+) ", make("help-all"), re.MULTILINE)
    assert sorted(listed) == sorted(described)
    short = re.findall(r"^  make ([a-z-]+) ", make("help"), re.MULTILINE)
    assert set(short) < set(listed)
    assert {"run", "dev", "check-fast", "test-one"} <= set(short)


def test_the_dev_container_makes_an_environment_that_its_editor_finds() -> None:
    container = json.loads((REPOSITORY / ".devcontainer" / "devcontainer.json").read_text())
    command, goal = container["postCreateCommand"].split()
    assert command == "make"
    assert goal in TARGET.findall((REPOSITORY / "Makefile").read_text())
    home = container["containerEnv"]["WINDSOCK_HOME"]
    assert not home.startswith("."), "an environment of the host has another Python"
    made = re.search(
        rf"touch ({home}/\S+)/\.made$", make("-n", "-B", goal, f"WINDSOCK_HOME={home}"), re.MULTILINE
    )
    settings = container["customizations"]["vscode"]["settings"]
    assert made
    assert settings["python.defaultInterpreterPath"] == f"{made[1]}/bin/python"
