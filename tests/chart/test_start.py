"""The monitor itself, started as the pod's containers start it: secrets in files, its folders elsewhere."""

import base64
import subprocess
from pathlib import Path

import httpx

from tests import wait
from tests.chart.cases import SECRETS, SMALLEST
from tests.chart.helm import Manifest, merged, render
from tests.chart.pods import environment, monitor, the
from tests.monitor_process import PYTHONPATH, WINDSOCK
from tests.ports import free_port

RULES = "receivers:\n  team:\n    email: [team@example.com]\n"
STOP_SECONDS = 20.0


def place(manifests: list[Manifest], folder: Path) -> dict[str, str]:
    """Puts the pod's volumes below `folder`; answers the container's environment with the paths there."""
    secrets = the(manifests, "Secret")["data"]
    for name, value in secrets.items():
        (folder / "secrets" / name).write_bytes(base64.b64decode(value))
    (folder / "rules" / "windsock.yaml").write_text(the(manifests, "ConfigMap")["data"]["windsock.yaml"])
    moved = {"/etc/windsock": str(folder), "/var/lib/windsock": str(folder / "home")}
    given = environment(monitor(manifests))
    for place, there in moved.items():
        given = {name: value.replace(place, there) for name, value in given.items()}
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": PYTHONPATH, **given}


def test_migrate_then_serve(tmp_path: Path) -> None:
    for name in ("secrets", "rules", "home"):
        (tmp_path / name).mkdir()
    values = merged(
        SMALLEST, {"rules": RULES, "secrets": {"values": {"session_secret": SECRETS["session_secret"]}}}
    )
    port = free_port()
    env = place(render(values), tmp_path) | {"WINDSOCK_PORT": str(port), "WINDSOCK_HOST": "127.0.0.1"}
    migrated = subprocess.run([WINDSOCK, "migrate"], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert migrated.returncode == 0, migrated.stderr
    serving = subprocess.Popen([WINDSOCK, "serve"], env=env, cwd=tmp_path)

    def ready() -> bool:
        assert serving.poll() is None
        try:
            return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).is_success
        except httpx.TransportError:
            return False

    try:
        wait.until(ready, "the monitor to be ready")
        serving.terminate()
        assert serving.wait(STOP_SECONDS) == 0
    finally:
        serving.kill()
