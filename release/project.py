"""Where things are, what the version is, and how other programs are run."""

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
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


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """What it prints. Raises subprocess.CalledProcessError with what it said where it fails."""
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


def tool(name: str) -> Path:
    """A program of the environment that this one runs in."""
    return Path(sys.executable).parent / name


def say(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
