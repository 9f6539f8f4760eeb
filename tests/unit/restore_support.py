"""A monitor at work, as a process of its own: an Airflow in which runs end, hooks that report most of them,
and a mail server. To be backed up, killed and restored.
"""

import json
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import httpx

from monitor.clock import utc_now
from monitor.events import from_airflow
from tests import wait
from tests.monitor_process import TLS, WINDSOCK, MonitorProcess, airflow_env
from tests.smtp_server import SmtpServer
from tests.unit.airflow_api_fake import PASSWORD, USERNAME, FakeAirflow, run_row, serving
from tests.unit.conftest import FakeClock, sign

TO = "ops@example.com"
PAUSE = 0.01  # seconds between two runs' ends: about what SQLite, the mails and two cores take
LOOK_SECONDS = 0.3  # between two looks at the whole log, which the monitor has to read meanwhile
PATIENCE = 180.0  # seconds; hundreds of mails may be under way
HOOK_IS_LOST = 5  # every so many: the reconciler alone tells of it
SHARED = "shared"
"""What DAGs are called of which two runs fail and then one succeeds: an incident, and a mail of its end."""


class RealClock(FakeClock):
    """The machine's."""

    def __call__(self) -> datetime:
        return utc_now()


class Stage:
    def __init__(self, home: Path, fake: FakeAirflow, mail: SmtpServer, database_url: str = "") -> None:
        self.fake, self.mail = fake, mail
        self.ended: list[str] = []
        """The ids of the events of all runs that have ended."""
        self.mailed: set[str] = set()
        """Those that a mail is called for."""
        self.monitor = MonitorProcess(
            home,
            {
                "WINDSOCK_DATABASE_URL": database_url,
                "WINDSOCK_RECONCILE_INTERVAL": "1",
                "WINDSOCK_NOTIFY_SUCCESS": "ok_*",
                "NOTIFICATION_EMAIL_TO": TO,
                **mail.monitor_env(),
                **airflow_env(fake.url, USERNAME, PASSWORD),
            },
        )

    @property
    def journal(self) -> Path:
        return Path(self.monitor.env["WINDSOCK_HOME"]) / "journal"

    def windsock(self, *arguments: str, **env: str) -> str:
        """Run the command; answers what it prints. Raises AssertionError with its words."""
        done = subprocess.run(
            [WINDSOCK, *arguments],
            cwd=self.monitor.home,
            env={**self.monitor.env, **env},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def end_run(self, reported: bool = True) -> None:
        """One more run ends in Airflow; its hook reports it, or does not."""
        number = len(self.ended)
        shared = number % 4
        alone = "ok" if number % 8 == 3 else "bad"
        dag_id = f"{SHARED if shared < 3 else alone}_{number // 4}"
        state = "success" if shared == 2 or dag_id.startswith("ok") else "failed"
        row = run_row(f"run_{number}", utc_now(), state) | {"dag_id": dag_id}
        event = from_airflow.run_event("local", row, utc_now())
        assert event is not None
        self.fake.runs.append(row)
        self.ended.append(event.id)
        if shared != 1:  # the second failure of an open incident is not mailed
            self.mailed.add(event.id)
        if reported and (shared < 3 or number // 4 % HOOK_IS_LOST):
            told = json.loads(event.body)
            told["data"]["reported_by"] = "listener"
            body = json.dumps([told])
            headers = sign(self.monitor.secret, body)
            url = f"{self.monitor.url}/api/v1/events"
            answer = httpx.post(url, content=body, headers=headers, timeout=20, trust_env=False, verify=TLS)
            answer.raise_for_status()

    @contextmanager
    def runs_ending(self) -> Iterator[None]:
        """Runs end all the while."""
        stop, failed = threading.Event(), []

        def work() -> None:
            try:
                while not stop.wait(PAUSE):
                    self.end_run()
            except Exception as error:  # noqa: BLE001 (raised below)
                failed.append(error)

        thread = threading.Thread(target=work, name="runs")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(30)
        assert not failed, failed

    def inbox(self) -> Counter[str]:
        """How many mails there are of each event."""
        return Counter(str(mail.message["X-Windsock-Event"]) for mail in list(self.mail.mails))

    def wait_for_mails(self, more: int) -> None:
        wanted = len(self.mail.mails) + more
        wait.until(lambda: len(self.mail.mails) >= wanted, f"{more} more mails", 60 + more)

    def uncertain(self) -> set[str]:
        """The events of mails of which nobody knows whether they were taken."""
        rows = self.monitor.get("/api/v1/deliveries", state="uncertain", limit=200)["deliveries"]
        return {row["event_id"] for row in rows}

    def wait_until_through(self) -> None:
        """Everything that has ended is logged, and every mail that it calls for is settled."""

        def nothing_waits() -> bool:
            states = ("pending", "sending", "parked")
            return not any(
                self.monitor.get("/api/v1/deliveries", state=state)["deliveries"] for state in states
            )

        def log_is_complete() -> bool:
            return set(self.ended) <= set(self.logged())

        wait.until(log_is_complete, "the log to be complete", PATIENCE, LOOK_SECONDS)
        wait.until(nothing_waits, "the mails to be through", PATIENCE, LOOK_SECONDS)

    def logged(self) -> list[str]:
        return [event["id"] for event in self.monitor.events()]

    def check(self) -> None:
        """Everything is in the log once and was mailed once; what nobody knows is said to be so."""
        logged = Counter(one for one in self.logged() if one in set(self.ended))
        assert logged == Counter(self.ended)
        inbox = self.inbox()
        doubled = {one: number for one, number in inbox.items() if number > 1}
        assert not doubled, self._story(doubled)
        lost = self.mailed - set(inbox) - self.uncertain()
        assert not lost, self._story(lost)
        assert set(inbox) <= self.mailed, self._story(set(inbox) - self.mailed)

    def _story(self, events: "set[str] | dict[str, int]") -> str:
        rows = self.monitor.get("/api/v1/deliveries", limit=200)["deliveries"]
        told = [f"{row['id']} {row['dag_id']}: {row['reason']}" for row in rows if row["event_id"] in events]
        return "\n".join([str(events), *told])


@contextmanager
def stage(tmp_path: Path, database_url: str = "") -> Iterator[Stage]:
    clock = RealClock()
    tmp_path.mkdir(exist_ok=True)
    mail = SmtpServer(tmp_path).start()
    try:
        with serving(FakeAirflow(clock)) as fake:
            on = Stage(tmp_path, fake, mail, database_url)
            try:
                yield on
            finally:
                on.monitor.kill()
    finally:
        mail.stop()
