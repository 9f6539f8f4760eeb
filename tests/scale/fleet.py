"""Monitors on one PostgreSQL, each a process of its own, and what all of them hold."""

from collections.abc import Mapping
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import NullPool, create_engine

from monitor.event_log import cursor
from monitor.event_log.cursor import LogState
from tests.monitor_process import MonitorProcess
from tests.postgres_server import PostgresServer
from tests.staged import Staged


class Fleet(Staged):
    """`with Fleet(folder, 4) as fleet: …`: everything runs and is ready; at the end all is gone."""

    def __init__(
        self,
        folder: Path,
        number: int,
        env: Mapping[str, str] | None = None,
        postgres: PostgresServer | None = None,
    ) -> None:
        """`postgres`: one that runs, and goes on running. Either way the database is a new one."""
        self._given = postgres
        self.folder = folder
        self._number = number
        self._env = env or {}
        super().__init__()
        self.monitors: list[MonitorProcess] = []

    def _start(self) -> None:
        self.postgres = self._given or PostgresServer().start()
        if not self._given:
            self._ends.callback(self.postgres.stop)
        self.look_at(self.postgres.create())
        for number in range(self._number):
            self.monitors.append(self._make(number))
            self._ends.callback(self.monitors[-1].stop)
        self.monitors[0].start()
        self.secret = self.monitors[0].secret
        for monitor in self.monitors[1:]:
            monitor.launch()
        for monitor in self.monitors[1:]:
            monitor.wait_until_ready()

    def look_at(self, database: str) -> None:
        """Read the database at this address: its server may have changed."""
        self.database = database
        self.engine = create_engine(database, poolclass=NullPool)

    def _make(self, number: int) -> MonitorProcess:
        home = self.folder / f"monitor-{number}"
        home.mkdir()
        first = {"WINDSOCK_INGEST_SECRET": self.monitors[0].secret} if self.monitors else {}
        own = {"WINDSOCK_DATABASE_URL": self.database, "WINDSOCK_MAIL_FROM": sender_of(number)}
        return MonitorProcess(home, {**self._env, **own, **first})

    @property
    def urls(self) -> list[str]:
        return [monitor.url for monitor in self.monitors]

    def log_state(self) -> LogState:
        with self.engine.connect() as connection:
            return cursor.state(connection)

    def counted(self, name: str, **labels: str) -> int:
        """A counter of theirs, added up."""
        return sum(_counted(url, name, labels) for url in self.urls)


def sender_of(number: int) -> str:
    """So that a mail tells which monitor sends it."""
    return f"monitor-{number}@example.com"


def _counted(url: str, name: str, labels: Mapping[str, str]) -> int:
    text = httpx.get(f"{url}/metrics", timeout=10, trust_env=False).raise_for_status().text
    return sum(
        int(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
