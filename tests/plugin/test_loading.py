"""Airflow's own loader, in a process of its own: from the plugins folder, from the wheel, and from both."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.plugin.receiver import Receiver

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "plugins"
PROBE = Path(__file__).with_name("loader_probe.py")


def probe(python: str, home: Path, folder: Path, **environment: str) -> tuple[dict[str, Any], str]:
    given = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    given |= {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__PLUGINS_FOLDER": str(folder), **environment}
    done = subprocess.run([python, PROBE], env=given, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found, done.stdout + done.stderr


@pytest.fixture
def configured(receiver: Receiver) -> dict[str, str]:
    return {
        "AIRFLOW__WINDSOCK__MONITOR_URL": receiver.url,
        "AIRFLOW__WINDSOCK__INGEST_SECRET": receiver.secret_text,
    }


def test_the_folder_holds_one_plugin_and_nothing_that_the_loader_trips_over(
    tmp_path: Path, configured: dict[str, str]
) -> None:
    found, _ = probe(sys.executable, tmp_path, PLUGINS, **configured)
    assert found["plugins"] == ["$PLUGINS_FOLDER/windsock_plugin.py"]
    assert found["errors"] == {}
    assert (found["core"], found["task"]) == (1, 1)
    assert not (tmp_path / "windsock-spool").exists(), "loading has no effect"


def test_without_a_url_nothing_is_registered(tmp_path: Path) -> None:
    found, _ = probe(sys.executable, tmp_path, PLUGINS)
    assert len(found["plugins"]) == 1
    assert (found["core"], found["task"]) == (0, 0)


def test_a_wrong_setting_is_said_once_and_keeps_events(tmp_path: Path, configured: dict[str, str]) -> None:
    wrong = "whsec_not-base64!"
    found, output = probe(
        sys.executable, tmp_path, PLUGINS, **{**configured, "AIRFLOW__WINDSOCK__INGEST_SECRET": wrong}
    )
    assert (found["core"], found["task"]) == (1, 1)
    assert found["errors"] == {}
    assert output.count("secret 1 is not whsec_") == 1
    assert wrong not in output


def uv() -> str:
    beside = Path(sys.prefix).parent / "uv" / "bin" / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    assert found, "the wheel is built with uv: run the tests through make, or put uv on the PATH"
    return found


@pytest.mark.slow
def test_the_wheel_installs_over_airflow_and_loads_once(tmp_path: Path, configured: dict[str, str]) -> None:
    shutil.copytree(PLUGINS, tmp_path / "source", ignore=shutil.ignore_patterns("__pycache__"))
    run([uv(), "build", "--quiet", "--wheel", "--out-dir", tmp_path / "dist", tmp_path / "source"])
    (wheel,) = (tmp_path / "dist").glob("airflow_windsock-*.whl")
    run([uv(), "venv", "--quiet", "--python", sys.executable, tmp_path / "venv"])
    python = tmp_path / "venv" / "bin" / "python"
    run([uv(), "pip", "install", "--quiet", "--no-deps", "--python", python, wheel])
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    assert (packages / "airflow_windsock" / "py.typed").exists()
    (packages / "airflow.pth").write_text("\n".join(site.getsitepackages()) + "\n")

    (tmp_path / "empty").mkdir()
    alone, _ = probe(str(python), tmp_path, tmp_path / "empty", **configured)
    assert len(alone["plugins"]) == 1
    assert "airflow-windsock" in alone["plugins"][0]
    assert alone["from"] == str(packages)
    assert (alone["core"], alone["task"], alone["errors"]) == (1, 1, {})

    both, _ = probe(str(python), tmp_path, tmp_path / "source", **configured)
    assert both["plugins"] == ["$PLUGINS_FOLDER/windsock_plugin.py"]
    assert (both["core"], both["task"]) == (1, 1)
    assert "already registered" in str(both["errors"])


def run(command: list[object]) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
