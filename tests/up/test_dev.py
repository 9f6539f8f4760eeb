"""`make dev`: sample mails arrive, a change starts the monitor anew, and the end leaves no process."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from monitor.clock import utc_now
from monitor.delivery.channels.mailbox import Mailbox
from monitor.events.data import DATA
from monitor.events.reports import Reporter, accept_report
from scripts.dev.__main__ import WATCHED, file_times, wait_for_change
from scripts.dev.sample import sample_round
from tests.monitor_process import REPOSITORY
from tests.wait import until

START_SECONDS = 60.0
"""For one start of the monitor; an idle machine needs two seconds."""
LATEST = 20  # mails that are looked through
LOCAL = Reporter(deployments=frozenset({"local"}))


class Dev:
    """A `make dev` with a home of its own, whose preferred port is taken."""

    def __init__(self, home: Path, port: int) -> None:
        self._home, self._said = home, home / "said"
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scripts.dev"],
                cwd=REPOSITORY,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": "plugins:client",
                    "WINDSOCK_HOME": str(home),
                    "WINDSOCK_PORT": str(port),
                },
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._said.read_text()

    def wait_for(self, text: str, times: int = 1) -> None:
        def has_said() -> bool:
            assert self.process.poll() is None, self.said
            return self.said.count(text) >= times

        until(has_said, f"{text!r}, {times} times", START_SECONDS)

    def subjects(self) -> list[str]:
        """Of the latest mails in the embedded mailbox."""
        return [mail.subject for mail in Mailbox(self._home / "dev" / "mailbox", utc_now).mails(LATEST)]


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        started = Dev(tmp_path, taken.getsockname()[1])
        yield started
        started.process.kill()
        started.process.wait()


@pytest.mark.slow
def test_mails_arrive_a_change_starts_it_anew_and_its_end_leaves_nothing(dev: Dev) -> None:
    dev.wait_for("Ctrl-C ends everything")
    assert "is taken: the monitor gets" in dev.said
    until(lambda: "load_orders" in str(dev.subjects()), "a sample mail", START_SECONDS)

    os.utime(REPOSITORY / "templates" / "email" / "base.html.j2")
    dev.wait_for("templates/email/base.html.j2 changed")
    dev.wait_for("Ctrl-C ends everything", times=2)
    known = len(dev.subjects())
    until(lambda: len(dev.subjects()) > known, "a mail from the new start", START_SECONDS)

    below = psutil.Process(dev.process.pid).children(recursive=True)
    dev.process.send_signal(signal.SIGINT)
    assert dev.process.wait(START_SECONDS) == 0
    assert psutil.wait_procs(below, START_SECONDS)[1] == []


def test_a_round_of_samples_is_what_the_webhook_takes() -> None:
    events = list(sample_round())

    for made in events:
        assert accept_report(made, LOCAL, utc_now()).id == made["id"]
    kinds = {made["type"] for made in events}
    assert kinds <= DATA.keys()
    assert {
        *("airflow.dag_run.failed", "airflow.dag_run.success", "airflow.task_instance.up_for_retry"),
        *("airflow.asset.updated", "airflow.dag.import_error", "airflow.dag.import_error_mended"),
    } <= kinds
    assert {made["data"].get("map_index") for made in events} >= {0, 1, 2}
    later = {made["id"] for made in sample_round()}
    assert not later & {made["id"] for made in events}, "a second round would be duplicates"


@pytest.mark.parametrize("change", ["written", "added", "removed"])
def test_each_kind_of_change_is_seen(tmp_path: Path, change: str) -> None:
    for folder in WATCHED:
        (tmp_path / folder).mkdir(parents=True)
    old, new = tmp_path / "monitor" / "old.py", tmp_path / "templates" / "email" / "new.txt.j2"
    old.write_text("")
    (tmp_path / "monitor" / "notes.md").write_text("")
    before = file_times(tmp_path)

    if change == "written":
        os.utime(old, (0, 0))
    elif change == "added":
        new.write_text("")
    else:
        old.unlink()

    seen = asyncio.run(wait_for_change(before, tmp_path))
    assert seen == [(new if change == "added" else old).relative_to(tmp_path)]


def test_what_is_watched_is_there() -> None:
    found = file_times()
    for folder in WATCHED:
        assert any(path.is_relative_to(folder) for path in found), folder
