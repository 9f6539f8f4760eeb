"""docs/upgrade.md's commands leave one plugin and one monitor, in an environment that had the old ones."""

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.docs.page import DOCS

PLUGIN = "[airflow.plugins]\nwindsock = windsock_plugin:WindsockPlugin\n"
MONITOR = "[console_scripts]\nwindsock = monitor.cli:main\n"
OLD = {
    "windsock": (MONITOR, ("monitor/__init__.py", "monitor/board.py")),
    "windsock_airflow": (PLUGIN, ("windsock/__init__.py", "windsock_plugin.py")),
}
NEW = {
    "windsock_monitor": (MONITOR, ("monitor/__init__.py", "monitor/app.py")),
    "windsock_client": ("", ("windsock_client/__init__.py",)),
    "airflow_windsock": (PLUGIN, ("airflow_windsock/__init__.py", "windsock_plugin.py")),
}
"""Each distribution with its entry points and some of its files: those of the same name, and others."""
FOUND = """
import json, pathlib, sysconfig
from importlib.metadata import entry_points, files
root = pathlib.Path(sysconfig.get_path("purelib"))
mine = [one for group in ("airflow.plugins", "console_scripts") for one in entry_points(group=group)]
names = [one.dist.name for one in mine if one.name == "windsock"]
missing = [str(file) for name in names for file in files(name) if not (root / file).exists()]
print(json.dumps([names, missing, sorted(path.name for path in root.glob("*windsock*") if path.is_dir())]))
"""
COMMAND = re.compile(r"^\$ env/bin/pip (.*)$", re.MULTILINE)


def build(folder: Path, wheels: Mapping[str, tuple[str, tuple[str, ...]]]) -> list[str]:
    """Write wheels of empty files; return their paths."""
    built = []
    for name, (points, files) in wheels.items():
        about = f"{name}-0.1.0.dist-info"
        content = {
            **dict.fromkeys(files, ""),
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 0.1.0\n",
            f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{about}/entry_points.txt": points,
        }
        content[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in (*content, f"{about}/RECORD"))
        built.append(str(folder / f"{name}-0.1.0-py3-none-any.whl"))
        with zipfile.ZipFile(built[-1], "w") as wheel:
            for path, text in content.items():
                wheel.writestr(path, text)
    return built


def commands() -> list[str]:
    """Return the page's pip commands for a checkout of before the names, but for the dependencies."""
    page = (DOCS / "upgrade.md").read_text()
    section = page.partition("## From a checkout")[2].partition("\n## ")[0]
    return [command for command in COMMAND.findall(section) if "--require-hashes" not in command]


@pytest.mark.slow  # an environment with pip
def test_one_plugin_and_one_monitor_are_left(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    (tmp_path / "dist").mkdir()
    pip = f"{tmp_path / 'env/bin/pip'} --no-input --disable-pip-version-check"

    def run(arguments: str) -> None:
        command = ["bash", "-c", f"{pip} {arguments}"]  # the page's commands hold an asterisk
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    run(f"install --no-index --no-deps {' '.join(build(tmp_path, OLD))}")
    build(tmp_path / "dist", NEW)
    assert len(commands()) == 4
    for command in commands():
        run(command)
    found = subprocess.run(
        [tmp_path / "env/bin/python", "-c", FOUND], check=True, capture_output=True, text=True
    )
    names, missing, folders = json.loads(found.stdout)
    assert names == ["airflow-windsock", "windsock-monitor"]
    assert missing == []
    assert [name for name in folders if not name.endswith(".dist-info")] == [
        "airflow_windsock",
        "windsock_client",
    ]
