"""The wheels of monitor and client work in an environment that has nothing else of this repository."""

import json
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from monitor.settings import Settings
from scripts.release.project import ROOT
from tests.plugin.test_loading import run, uv
from tests.sample import run_event
from tests.unit.conftest import settings
from tests.unit.web_support import serving

__all__ = ["settings"]

REQUIRES = "from importlib.metadata import requires; print(*requires('windsock-monitor'), sep='\\n')"


def build(folder: Path, project: Path) -> Path:
    """Build the wheel of a project from its source archive, as a package index would."""
    run([uv(), "build", "--quiet", "--out-dir", folder, project])
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.mark.slow
def test_tail_runs_from_the_two_wheels(tmp_path: Path, settings: Settings) -> None:
    wheels = [build(tmp_path / name, project) for name, project in (("m", ROOT), ("c", ROOT / "client"))]
    files = [set(zipfile.ZipFile(wheel).namelist()) for wheel in wheels]
    assert not files[0] & files[1], "two distributions with the same file break each other"

    run([uv(), "venv", "--quiet", "--python", sys.executable, tmp_path / "env"])
    python = tmp_path / "env" / "bin" / "python"
    run([uv(), "pip", "install", "--quiet", "--no-deps", "--python", python, *wheels])
    (packages,) = (tmp_path / "env").glob("lib/python*/site-packages")
    # What an index would bring. The .pth files of those folders are not read, so nothing of this checkout.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    assert "windsock-client>=" in output(python, "-c", REQUIRES)

    windsock = tmp_path / "env" / "bin" / "windsock"
    assert "--no-follow" in output(windsock, "tail", "--help")
    with serving(settings) as monitor:
        monitor.post([run_event("running"), run_event()])
        lines = output(windsock, "tail", "--url", monitor.url, "--no-follow", "--json").splitlines()
    assert [json.loads(line)["event"] for line in lines] == [run_event("running"), run_event()]


def output(*command: object) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
