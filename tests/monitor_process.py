"""`windsock serve` as a process of its own, as its users run it: to be stopped, killed and started again."""

import secrets
import signal
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests import wait
from tests.ports import free_port

START_SECONDS = 30.0
STOP_SECONDS = 20.0
TLS = ssl.create_default_context()
"""Nothing here is encrypted; but each request by itself makes one of these, 15 ms of the processor."""
WINDSOCK = Path(sys.executable).parent / "windsock"
REPOSITORY = Path(__file__).resolve().parent.parent
PYTHONPATH = f"{REPOSITORY}:{REPOSITORY / 'client'}"
"""This checkout's monitor and client, whichever are installed."""


class MonitorProcess:
    """One monitor with a home of its own; `env` adds to or overrides its settings, `within` is the command
    that runs it, such as one that enters a network namespace."""

    def __init__(self, home: Path, env: Mapping[str, str] | None = None, within: Sequence[str] = ()) -> None:
        self.home = home
        self._within = within
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.secret = "whsec_" + b64encode(secrets.token_bytes(32)).decode()
        self.log = home / "monitor.log"
        self.env = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": PYTHONPATH,
            "WINDSOCK_HOME": str(home / "windsock"),
            "WINDSOCK_PORT": str(self.port),
            "WINDSOCK_AUTH": "none",
            "WINDSOCK_INGEST_SECRET": self.secret,
            **(env or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "MonitorProcess":
        """Start it and wait until it is ready."""
        self.launch()
        self.wait_until_ready()
        return self

    def launch(self) -> None:
        """Start it, and look no further."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [*self._within, WINDSOCK, "serve"],
                cwd=self.home,
                env=self.env,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_until_ready(self) -> None:
        wait.until(self.is_ready, "the monitor to be ready", START_SECONDS)

    @property
    def process_id(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid

    def exit_status(self) -> int | None:
        """What it ended with by itself; None where it runs, or was stopped."""
        return None if self._process is None else self._process.poll()

    def is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the monitor ended:\n{self.log.read_text()}"
        try:
            answer = httpx.get(f"{self.url}/readyz", timeout=2, trust_env=False, verify=TLS)
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it; answers its exit status. Safe to call when it does not run."""
        if self._process is None:
            return 0
        self._process.send_signal(how)
        try:
            status = self._process.wait(STOP_SECONDS)
        finally:
            self._process.kill()
            self._process = None
        return status

    def kill(self) -> None:
        """SIGKILL. Safe to call when it does not run."""
        self.stop(signal.SIGKILL)

    def get(self, path: str, **query: Any) -> Any:
        """JSON of the monitor's API. Raises httpx.HTTPStatusError."""
        answer = httpx.get(f"{self.url}{path}", params=query, timeout=10, trust_env=False, verify=TLS)
        return answer.raise_for_status().json()

    def events(self) -> list[dict[str, Any]]:
        """The whole log, oldest first, read page by page."""
        found: list[dict[str, Any]] = []
        query: dict[str, Any] = {"limit": 200}
        while True:
            page = self.get("/api/v1/events", **query)
            found += [row["event"] for row in page["events"]]
            if not page.get("next"):
                return found[::-1]
            query["cursor"] = page["next"]

    def plugin_env(self, spool: Path, url: str | None = None) -> dict[str, str]:
        """What an Airflow needs to report to this monitor; `url` where it is not reached directly."""
        return {
            "AIRFLOW__WINDSOCK__MONITOR_URL": url or self.url,
            "AIRFLOW__WINDSOCK__INGEST_SECRET": self.secret,
            "AIRFLOW__WINDSOCK__SPOOL_DIR": str(spool),
        }


def airflow_env(url: str, username: str, password: str) -> dict[str, str]:
    """What a monitor needs to ask an Airflow."""
    return {
        "WINDSOCK_AIRFLOW_URL": url,
        "WINDSOCK_AIRFLOW_USERNAME": username,
        "WINDSOCK_AIRFLOW_PASSWORD": password,
    }
