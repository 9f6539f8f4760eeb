"""A Prometheus of the tests' own, with this project's configuration but for where the monitor is."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests import wait
from tests.monitor_process import REPOSITORY
from tests.ports import free_port

CONFIGURATION = REPOSITORY / "compose/observability/prometheus"
SCRAPE_SECONDS = 1


class Prometheus:
    def __init__(self, port: int) -> None:
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query. Fails where it does not parse."""
        answer = self.client.post("/api/v1/query", data={"query": expression})
        told = answer.json()
        assert told["status"] == "success", told
        found: list[dict[str, Any]] = told["data"]["result"]
        return found

    def is_ready(self) -> bool:
        try:
            return self.client.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def scraping(target: str) -> Iterator[Prometheus]:
    with tempfile.TemporaryDirectory(prefix="windsock-prometheus-") as folder:
        home, port = Path(folder), free_port()
        settings = yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text())
        seconds = f"{SCRAPE_SECONDS}s"
        settings["global"] = {"scrape_interval": seconds, "evaluation_interval": seconds}
        settings["rule_files"] = [str(CONFIGURATION / "windsock.rules.yml")]
        settings["scrape_configs"] = [{"job_name": "windsock", "static_configs": [{"targets": [target]}]}]
        (home / "prometheus.yml").write_text(yaml.safe_dump(settings))
        command = [
            "prometheus",
            f"--config.file={home / 'prometheus.yml'}",
            f"--storage.tsdb.path={home / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with (home / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            prometheus = Prometheus(port)
            try:
                wait.until(prometheus.is_ready, "Prometheus to be ready", 30)
                yield prometheus
            finally:
                prometheus.client.close()
                process.terminate()
