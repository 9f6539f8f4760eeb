"""The monitors under strain, an idle one beside them, and the means to strain them."""

import json
import re
import resource
import socket
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from standardwebhooks import Webhook

from bench.bounds.peers import PASSWORD, USER, Peers
from bench.bounds.probe import Probe
from monitor.events.identity import run_id_of
from tests import wait
from tests.monitor_process import TLS, MonitorProcess
from tests.ports import free_port

OPEN_FILES = 1_200  # that a monitor under strain may open: so its bounds on connections and feeds are reached
TIMEOUT = 120.0
SECRET = "whsec_" + "A" * 43 + "="  # of a webhook whose receiver is ours
START_SECONDS = 120.0  # three at once, on a machine that has other work
RULES = """
receivers:
  to-webhook: {{webhook: [{{url: "{peers}/hook", secret: {secret}}}]}}
  to-apprise: {{apprise: ["json://127.0.0.1:{port}/apprise"]}}
  to-mail: {{email: ops@example.com}}
rules:
  - {{name: webhook, match: {{dag_id: webhook}}, notify_on: every_failure, to: to-webhook}}
  - {{name: apprise, match: {{dag_id: apprise}}, notify_on: every_failure, to: to-apprise}}
  - {{name: mail, match: {{dag_id: mail}}, notify_on: every_failure, to: to-mail}}
"""


@dataclass
class Strained:
    """A monitor, what asks it, and what watches it meanwhile."""

    process: MonitorProcess
    probe: Probe
    client: httpx.Client

    @property
    def port(self) -> int:
        return self.process.port

    @property
    def url(self) -> str:
        return self.process.url

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT)

    def signed(self, body: bytes) -> dict[str, str]:
        now, name = datetime.now(timezone.utc), f"msg_{uuid.uuid4().hex}"
        return {
            "Content-Type": "application/cloudevents-batch+json",
            "webhook-id": name,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(self.process.secret).sign(name, now, body.decode()),
        }

    def post(self, body: bytes, **more: str) -> httpx.Response:
        return self.client.post("/api/v1/events", content=body, headers=self.signed(body) | more)

    def report(self, events: Sequence[dict[str, Any]]) -> httpx.Response:
        return self.post(json.dumps(events).encode())

    def sign_in(self) -> httpx.Client:
        """A browser that is signed in."""
        headers = {"Accept": "text/html"}
        browser = httpx.Client(
            base_url=self.url, timeout=TIMEOUT, trust_env=False, verify=TLS, headers=headers
        )
        answer = self.guess(browser, PASSWORD)
        assert answer.status_code == 303, answer.text
        return browser

    def guess(self, browser: httpx.Client, password: str) -> httpx.Response:
        page = browser.get("/login").text
        csrf = re.search(r'name="csrf" value="([^"]*)"', page)
        assert csrf, page
        form = {"username": USER, "password": password, "next": "/", "csrf": csrf[1]}
        return browser.post("/login", data=form)


@dataclass
class Stage:
    plain: Strained
    """A monitor by itself: no sign-in, no Airflow, each way of delivery."""
    guarded: Strained
    """A monitor beside an Airflow, where people sign in, with the embedded mailbox."""
    peers: Peers
    mailbox_port: int


@contextmanager
def staged() -> Iterator[Stage]:
    _raise_own_limit()
    with ExitStack() as ends:
        home = Path(ends.enter_context(TemporaryDirectory(prefix="windsock-bounds-", dir="/tmp")))
        peers = Peers().start()
        ends.callback(peers.stop)
        idle = _launched(home / "idle", {}, ends)
        rules = home / "windsock.yaml"
        rules.write_text(RULES.format(peers=peers.url, port=peers.port, secret=SECRET))
        plain = _launched(home / "plain", _plain(peers, rules), ends)
        mailbox_port = free_port()
        guarded = _launched(home / "guarded", _guarded(peers, mailbox_port), ends)
        for process in (idle, plain, guarded):
            wait.until(process.is_ready, "the monitors to be ready", START_SECONDS)
        yield Stage(_strained(plain, idle, ends), _strained(guarded, idle, ends), peers, mailbox_port)


def _plain(peers: Peers, rules: Path) -> dict[str, str]:
    return {
        "WINDSOCK_CONFIG": str(rules),
        "WINDSOCK_SMTP_HOST": "127.0.0.1",
        "WINDSOCK_SMTP_PORT": str(peers.mail.port),
        "WINDSOCK_SMTP_SECURITY": "none",
        "WINDSOCK_SMTP_TIMEOUT": "5",
        "WINDSOCK_MAIL_FROM": "windsock@example.com",
    }


def _guarded(peers: Peers, mailbox_port: int) -> dict[str, str]:
    return {
        "WINDSOCK_AUTH": "airflow",
        "WINDSOCK_AIRFLOW_URL": peers.url,
        "WINDSOCK_AIRFLOW_USERNAME": "monitor",
        "WINDSOCK_AIRFLOW_PASSWORD": "its secret",
        "WINDSOCK_RECONCILE_INTERVAL": "1",
        "WINDSOCK_MAILBOX_SMTP_PORT": str(mailbox_port),
        "WINDSOCK_SMTP_USERNAME": "",
        "WINDSOCK_NOTIFICATION_EMAIL_TO": "ops@example.com",
    }


def _launched(home: Path, env: dict[str, str], ends: ExitStack) -> MonitorProcess:
    home.mkdir()
    env = {name: value for name, value in env.items() if value}
    process = MonitorProcess(home, env, within=("prlimit", f"--nofile={OPEN_FILES}:{OPEN_FILES}"))
    ends.callback(process.kill)
    process.launch()
    return process


def _strained(process: MonitorProcess, idle: MonitorProcess, ends: ExitStack) -> Strained:
    client = ends.enter_context(
        httpx.Client(base_url=process.url, timeout=TIMEOUT, trust_env=False, verify=TLS)
    )
    probe = Probe(process.url, process.process_id, idle.url)
    ends.callback(probe.close)
    return Strained(process, probe, client)


def _raise_own_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def failed_run(dag_id: str, run_id: str = "manual__1", **data: Any) -> dict[str, Any]:
    """A run that has failed just now, as the plugin reports it."""
    now = datetime.now(timezone.utc)
    moment = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "specversion": "1.0",
        "id": run_id_of(dag_id, run_id, now, None, "failed"),
        "source": "/airflow/local",
        "type": "airflow.dag_run.failed",
        "subject": f"{dag_id}/{run_id}",
        "time": moment,
        "datacontenttype": "application/json",
        "data": {
            "dag_id": dag_id,
            "run_id": run_id,
            "state": "failed",
            "run_type": "manual",
            "start_date": moment,
            "end_date": moment,
            "reported_by": "listener",
            **data,
        },
    }
