"""Monitors as processes on one PostgreSQL, and a mail server that kills whoever gives it a certain mail."""

import os
import re
import signal
from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage
from itertools import count, cycle
from pathlib import Path
from typing import Any

import httpx

from monitor.database.engine import Database
from monitor.database.leader_election import holders
from monitor.database.migrate import migrate
from monitor.event_log.deployments import origin_of
from tests import wait
from tests.monitor_process import MonitorProcess
from tests.sample import START, run_event
from tests.smtp_server import Received, SmtpServer
from tests.unit.conftest import LONG_AFTER, sign
from tests.unit.replicas_support import MAILED

WORKS = ["retention", "reminders", "recoveries", "watches"]
TURN = re.compile(
    r"^(\S+ \S+) INFO monitor\.database\.leader_election: this replica is (no longer )?the leader: watches",
    re.MULTILINE,
)


def prepared(url: str) -> Database:
    """A database that has known the samples' Airflow since before their time: their mails are no past."""
    database = Database(url)
    migrate(database)
    database.write_now(lambda connection: origin_of(connection, "local", START))
    return database


def replica(
    folder: Path, name: str, url: str, env: dict[str, str], within: Sequence[str] = ()
) -> MonitorProcess:
    """One monitor, whose mails come from `name`; it is not started yet."""
    home = folder / name
    home.mkdir()
    own = {
        "WINDSOCK_DATABASE_URL": url,
        "WINDSOCK_MAIL_FROM": f"{name}@example.com",
        "WINDSOCK_NOTIFY_MAX_AGE_HOURS": str(LONG_AFTER),
        "NOTIFICATION_EMAIL_TO": "ops@example.com",
        "PYTHONUNBUFFERED": "1",
    }
    return MonitorProcess(home, own | env, within)


def turns_at(monitor: MonitorProcess, database: Database) -> set[str]:
    """The works that this one has the turn of."""
    found = database.read_now(lambda connection: holders(connection, WORKS))
    return {work for work, name in found.items() if name.endswith(f":{monitor.port}")}


def turns_of_watches(monitor: MonitorProcess) -> list[tuple[datetime, bool]]:
    """When it had the turn, and when no longer, by its own log."""
    return [
        (datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f"), not lost)  # noqa: DTZ007 (both by this machine's clock)
        for at, lost in TURN.findall(monitor.log.read_text())
    ]


class Killing:
    """Answers the mail server's DATA: the mail of this number is taken, and its sender is dead before it
    hears of it."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._mails = count(1)
        self.pids: dict[str, int] = {}
        self.killed: str | None = None
        self.under_way: EmailMessage | None = None

    def reply(self, mail: Received) -> str:
        if self.killed is None and next(self._mails) >= self._number and mail.sender in self.pids:
            self.killed, self.under_way = mail.sender, mail.message
            os.kill(self.pids[mail.sender], signal.SIGKILL)
        return "250 OK"


class Load:
    """Sends ends of runs, each until somebody has taken it, to one replica after the other."""

    def __init__(self, urls: Sequence[str], secret: str) -> None:
        self._urls = cycle(urls)
        self._secret = secret
        self._client = httpx.Client(timeout=10, trust_env=False)

    def send(self, number: int) -> list[str]:
        """Once; answers the ids."""
        events = [run_event("success", MAILED, f"run_{one}") for one in range(number)]
        for event in events:
            wait.until(lambda: self._is_taken(event), "an event to be taken")  # noqa: B023 (awaited here)
        self._client.close()
        return [event["id"] for event in events]

    def _is_taken(self, event: dict[str, Any]) -> bool:
        body = httpx.Request("POST", "http://monitor", json=[event]).content.decode()
        try:
            answer = self._client.post(
                f"{next(self._urls)}/api/v1/events", content=body, headers=sign(self._secret, body)
            )
        except httpx.TransportError:
            return False
        return answer.status_code == 202


def message_ids(server: SmtpServer) -> list[str]:
    return [str(mail.message["Message-ID"]) for mail in server.mails]
