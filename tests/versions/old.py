"""The first commit at which plugin and monitor spoke the wire format, as a folder of its own; and its
programs as processes. A clone without history (CI's may be shallow) has none: then only golden requests are
tested."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from monitor.events.event import parse_event
from monitor.events.reports import compute_id
from tests.monitor_process import REPOSITORY, MonitorProcess

FIRST = "2793a14"
BEFORE_THE_NAMES = "2ed4606"
"""A commit with the names that docs/upgrade.md calls old; `checkout/` is its installation."""
PACKAGES = ("airflow_windsock", "windsock")
"""The plugin's import package: today's name, and the first one."""
PUT = """
import json, sys
from pathlib import Path
from {package}.spool import Spool
spool = Spool(Path(sys.argv[1]), 1000, 10_000_000)
add = spool.add if hasattr(spool, "add") else spool.put  # its first name
for event in json.load(open(sys.argv[2])):
    add(json.dumps(event).encode())
"""


def logged_as(event: Any) -> str:
    """The id under which this monitor logs what an older plugin reports: its own."""
    return compute_id(parse_event(event))


def release_of(commit: str, target: Path) -> Path:
    """Skips the test where the history does not reach back so far."""
    archive = subprocess.run(["git", "-C", REPOSITORY, "archive", commit], capture_output=True)
    if archive.returncode != 0:
        pytest.skip(f"the clone has no commit {commit} (shallow): only the golden requests are tested")
    target.mkdir()
    subprocess.run(["tar", "-x", "-C", target], input=archive.stdout, check=True)
    return target


def send(plugins: Path, events: Path, spool: Path, monitor: MonitorProcess) -> list[str]:
    """Put events into a spool and forward them, by the plugin in that folder; answers what was set aside."""
    # A home without an airflow.cfg: the settings come from the environment.
    own = {"PYTHONPATH": str(plugins), "AIRFLOW__WINDSOCK__TRACES": "on"}
    package = next(name for name in PACKAGES if (plugins / name).is_dir())
    commands = (
        ("-c", PUT.format(package=package), spool, events),
        ("-m", f"{package}.forwarder", "--once"),
    )
    env = {**os.environ, **monitor.plugin_env(spool), **own}
    for arguments in commands:
        done = subprocess.run([sys.executable, *map(str, arguments)], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert list((spool / "new").iterdir()) == []
    return [path.name for path in (spool / "bad").iterdir()]


class FirstMonitor(MonitorProcess):
    """The monitor of that commit, in today's environment. It had a door for events, and no page yet."""

    def __init__(self, home: Path, release: Path) -> None:
        super().__init__(home, {"PYTHONPATH": str(release)})

    def launch(self) -> None:
        with self.log.open("ab") as output:
            command = [sys.executable, "-c", "from monitor.cli import main; main()", "serve"]
            self._process = subprocess.Popen(
                command, cwd=self.home, env=self.env, stdout=output, stderr=subprocess.STDOUT
            )

    def is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the monitor ended:\n{self.log.read_text()}"
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 2):
            return True
        return False

    def events(self) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.home / "windsock" / "windsock.db")) as database:
            return [json.loads(body) for (body,) in database.execute("select body from events order by seq")]
