"""The values for the official Airflow chart: what the plugin and Kubernetes make of them.

The chart itself is in no package registry, so it is not rendered here.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
import yaml
from kubernetes_validate import validate

from airflow_windsock import settings as plugin
from airflow_windsock.spool import Spool
from tests import wait
from tests.chart.helm import ROOT, Manifest, example
from tests.monitor_process import MonitorProcess

VALUES = yaml.safe_load((ROOT / "charts" / "airflow-values.yaml").read_text())
PREFIX = "AIRFLOW__WINDSOCK__"
SECRET = "whsec_" + "QUJD" * 10
FORWARDERS = {
    "airflow-celery": ("celery", "1.29"),
    "airflow-kubernetes-forwarder": ("kubernetes", "1.29"),
}
"""Each example: whose pods, and the oldest Kubernetes that knows native sidecars."""
GOLDEN = json.loads((ROOT / "tests" / "contract" / "task_instance.failed.json").read_text())


def sidecar(name: str) -> Manifest:
    (container,) = example(name)["workers"][FORWARDERS[name][0]]["extraInitContainers"]
    found: Manifest = container
    return found


def load(variables: dict[str, str]) -> tuple[plugin.Settings | None, tuple[str, ...], set[str]]:
    """What the plugin makes of an environment, and the names that it asked for."""
    asked = set()

    def read(name: str) -> str:
        asked.add(f"{PREFIX}{name.upper()}")
        return variables.get(f"{PREFIX}{name.upper()}", "")

    return *plugin.load(read, Path("/opt/airflow")), asked


def test_the_plugin_takes_the_environment() -> None:
    variables = {one["name"]: one["value"] for one in VALUES["env"]}
    variables |= {one["envName"]: SECRET for one in VALUES["secret"]}
    settings, problems, asked = load(variables)
    assert (problems, set(variables) - asked) == ((), set())
    assert settings is not None
    assert settings.sends
    (mount,) = VALUES["volumeMounts"]
    # A folder within the volume: the volume's own belongs to root.
    assert PurePosixPath(mount["mountPath"]) in PurePosixPath(settings.spool_dir).parents
    assert [volume["name"] for volume in VALUES["volumes"]] == [mount["name"]]


@pytest.mark.parametrize("name", FORWARDERS)
def test_a_forwarder_goes_by_the_same_values(name: str) -> None:
    container = sidecar(name)
    wanted = {one["name"]: one["value"] for one in VALUES["env"]}
    given = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    assert {key: value for key, value in given.items() if key.startswith(PREFIX)} == wanted
    (secret,) = VALUES["secret"]
    (referred,) = (one for one in container["env"] if "valueFrom" in one)
    assert referred["name"] == secret["envName"]
    assert referred["valueFrom"]["secretKeyRef"] == {"name": secret["secretName"], "key": secret["secretKey"]}
    assert container["volumeMounts"] == VALUES["volumeMounts"]
    image = VALUES["images"]["airflow"]
    assert container["image"] == f"{image['repository']}:{image['tag']}"


@pytest.mark.parametrize(("name", "oldest"), [(name, oldest) for name, (_, oldest) in FORWARDERS.items()])
@pytest.mark.parametrize("version", [None, "1.37"])
def test_kubernetes_takes_a_pod_with_the_forwarder(name: str, oldest: str, version: str | None) -> None:
    container = sidecar(name)
    assert container["restartPolicy"] == "Always"  # else it would be waited for, before the task begins
    task = {"name": "base", "image": "airflow", "volumeMounts": VALUES["volumeMounts"]}
    spec = {"initContainers": [container], "containers": [task], "volumes": VALUES["volumes"]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "task"}, "spec": spec}
    validate(pod, version or oldest, strict=True)


class Forwarder:
    """The KubernetesExecutor's forwarder as its pod runs it, but for the places."""

    def __init__(self, folder: Path, monitor: MonitorProcess, linger: int) -> None:
        self.spool = Spool(folder / "events", 1000, 1024**2)
        container = sidecar("airflow-kubernetes-forwarder")
        python = Path(sys.executable)
        environment = {
            "PATH": f"{python.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "plugins"),
            "LINGER": str(linger),
            **monitor.plugin_env(self.spool.root),
        }
        command = [*container["command"], *container["args"]]
        self._process = subprocess.Popen(command, env=environment, start_new_session=True)

    def fails_to_send(self) -> None:
        """The task puts an event, and the monitor is away."""
        self.spool.add(json.dumps(GOLDEN["event"]).encode())
        wait.until((self.spool.root / "backoff").exists, "the forwarder to have tried")

    def stop(self) -> None:
        """As the kubelet does, to the first process alone."""
        self._process.send_signal(signal.SIGTERM)

    def ended(self) -> bool:
        return self._process.poll() is not None

    def kill(self) -> None:
        if not self.ended():
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[MonitorProcess]:
    monitor = MonitorProcess(tmp_path)
    yield monitor
    monitor.stop()


def test_a_task_s_forwarder_sends_what_is_left_when_the_monitor_is_back(
    monitor: MonitorProcess, tmp_path: Path
) -> None:
    forwarder = Forwarder(tmp_path, monitor, linger=60)
    try:
        forwarder.fails_to_send()
        forwarder.stop()
        monitor.start()
        wait.until(forwarder.ended, "the forwarder to end")
        assert len(monitor.events()) == 1
        assert forwarder.spool.names() == []
    finally:
        forwarder.kill()


def test_a_task_s_forwarder_gives_up_in_time(monitor: MonitorProcess, tmp_path: Path) -> None:
    forwarder = Forwarder(tmp_path, monitor, linger=0)
    try:
        forwarder.fails_to_send()
        forwarder.stop()
        wait.until(forwarder.ended, "the forwarder to end")
        assert len(forwarder.spool.names()) == 1
    finally:
        forwarder.kill()
