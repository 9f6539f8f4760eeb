"""The project's folders and version, and a way to run other programs."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements"
SUPPORTED = "3.3.2"
"""The Airflow that images and `make run` have. The other locks are for tests."""
_VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)


def version(package: Path = ROOT / "monitor") -> str:
    """As the package says. Raises ValueError where it says none."""
    found = _VERSION.search((package / "__init__.py").read_text())
    if found is None:
        raise ValueError(f'{package / "__init__.py"} has no __version__ = "…"')
    return found[1]


class Failed(Exception):
    """A program that was needed did not do its work; the message is what it said."""


def run(*command: str | Path, cwd: Path = ROOT, stdin: str = "") -> str:
    """What it prints; programs of this environment are found first. Raises Failed where it fails."""
    environment = os.environ | {"PATH": f"{tool('')}{os.pathsep}{os.environ['PATH']}"}
    try:
        ran = subprocess.run(
            command, check=False, cwd=cwd, env=environment, input=stdin, capture_output=True, text=True
        )
    except FileNotFoundError:
        raise Failed(f"{command[0]} is not installed") from None
    if ran.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))} ended with {ran.returncode}: {ran.stderr.strip()}")
    return ran.stdout


def tool(name: str) -> Path:
    """A program of the environment that this one runs in."""
    return Path(sys.executable).parent / name


def say(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
