"""Several monitors in one process, on one PostgreSQL; and senders that come again, as the plugin does."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email import message_from_bytes
from pathlib import Path
from typing import Any

import httpx

from monitor.settings import Settings
from tests import wait
from tests.sample import run_event
from tests.unit.web_support import Served

WORKS = {"retention", "reminders", "watches"}
MAILED = "Airflow_Lab2"
"""The DAG whose every success is mailed."""


class Replica(Served):
    """One of them; its mailbox is in a home of its own."""

    def stop(self) -> None:
        """Safe to call again."""
        if not self.client.is_closed:
            super().stop()

    @property
    def turns(self) -> set[str]:
        """What it has, as its metrics tell."""
        return {work for work in WORKS if self.sample("windsock_leader", work=work)}

    def sample(self, name: str, **labels: str) -> float:
        return self.app.state.services.metrics.registry.get_sample_value(name, labels) or 0

    def mails(self) -> list[str]:
        """Their Message-IDs."""
        files = (self.settings.home / "mailbox" / "new").glob("*.eml")
        return [str(message_from_bytes(file.read_bytes())["Message-ID"]) for file in files]


@contextmanager
def replicas(settings: Settings, database: str, home: Path, number: int) -> Iterator[list[Replica]]:
    """The first one has every turn."""
    running: list[Replica] = []
    try:
        for count in range(number):
            own = {"database_url": database, "home": home / f"replica-{count}"}
            running.append(Replica(settings.model_copy(update=own)))
            running[-1].start()
            wait.until(lambda: running[0].turns == WORKS, "the first to have every turn")
        yield running
    finally:
        for each in running:
            each.stop()


class Load:
    """Sends ends of runs, one by one, each until it is taken, to a replica after the other."""

    def __init__(self, monitors: Sequence[Replica]) -> None:
        self._monitors = monitors
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")
        self.taken: list[str] = []
        self.answers: dict[int, int] = {}
        """How often each status was answered."""
        self.wrong: list[httpx.Response] = []
        """Whatever was neither taken nor put off."""

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def more(self, number: int) -> None:
        """Wait until so many more were taken."""
        wanted = len(self.taken) + number
        wait.until(lambda: len(self.taken) >= wanted, f"{wanted} events to be taken")

    def _run(self) -> None:
        number = 0
        while not self._ended.is_set():
            number += 1
            event = run_event("success", MAILED, f"run_{number}")
            while not self._is_taken(self._monitors[number % len(self._monitors)], event):
                self._ended.wait(0.05)
            self.taken.append(event["id"])

    def _is_taken(self, monitor: Replica, event: dict[str, Any]) -> bool:
        answer = monitor.post([event])
        self.answers[answer.status_code] = self.answers.get(answer.status_code, 0) + 1
        if answer.status_code not in (202, 503):
            self.wrong.append(answer)
        return answer.status_code == 202 or self._ended.is_set()
