"""What the command writes is for its user alone, whatever the umask that it is started with."""

import stat
import subprocess
from pathlib import Path

from tests.monitor_process import PYTHONPATH, WINDSOCK


def test_what_a_command_writes_is_its_users_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    env = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": PYTHONPATH,
        "WINDSOCK_HOME": str(home),
        "WINDSOCK_AUTH": "none",
    }
    command = f"umask 000 && exec {WINDSOCK} migrate"
    subprocess.run(["sh", "-c", command], cwd=tmp_path, env=env, check=True, capture_output=True)
    written = [home, *home.rglob("*")]
    assert len(written) > 1
    assert [path for path in written if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
