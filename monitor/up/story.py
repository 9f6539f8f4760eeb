"""The story that `windsock up` plays: train, release, score, everybody told. And what of it is missing."""

import asyncio
from dataclasses import dataclass, field

import httpx

from monitor.clock import utc_now
from monitor.mailer.mailbox import Mailbox
from monitor.up.airflow_client import AirflowClient, AssetEvent, Run
from monitor.up.errors import NotAllHappened
from monitor.up.feed import Heard
from monitor.up.setup import Setup
from monitor.up.stage import until

TRAINING, RELEASE, SCORING = "Airflow_Lab2", "release", "scoring"
DAGS = frozenset({TRAINING, RELEASE, SCORING})
MODEL_ASSETS = ("model.pkl", "scaler.pkl")
LOOKED_THROUGH = 20  # the latest mails: the report is among them, however many runs there are


@dataclass
class Mail:
    """A mail about the run, as the monitor has it."""

    subject: str
    state: str
    reason: str


@dataclass
class Story:
    """What has happened so far."""

    training: Run
    heard: Heard
    """What the feed has shown."""
    mailbox: Mailbox | None
    """Where the DAG's own mail arrives, if it goes there."""
    release: Run | None = None
    scoring: Run | None = None
    scoring_due: bool = True
    assets: list[AssetEvent] = field(default_factory=list)
    promoted: list[AssetEvent] = field(default_factory=list)
    mails: list[Mail] = field(default_factory=list)
    """The monitor's."""
    reports: list[str] = field(default_factory=list)
    """The subjects of the DAG's own mails."""

    @property
    def runs(self) -> list[Run]:
        return [run for run in (self.training, self.release, self.scoring) if run]

    def missing(self) -> list[str]:
        """What has not happened yet, in words; nothing: all of it has."""
        return [*self._missing_runs(), *self._missing_events(), *self._missing_mails()]

    def failure(self) -> Run | None:
        """A run that can no longer succeed."""
        return next((run for run in self.runs if run.state == "failed"), None)

    def _missing_runs(self) -> list[str]:
        wanted = [(TRAINING, self.training), (RELEASE, self.release)]
        if self.scoring_due:
            wanted.append((SCORING, self.scoring))
        return [
            f"{dag_id} is {run.state}" if run else f"{dag_id} has not started"
            for dag_id, run in wanted
            if run is None or run.state != "success"
        ]

    def _missing_events(self) -> list[str]:
        updates = [
            f"the feed has not shown the update of {asset}"
            for asset in MODEL_ASSETS
            if ("airflow.asset.updated", asset, self.training.run_id) not in self.heard
        ]
        return updates + [
            f"the feed has not shown the success of {run.dag_id}"
            for run in self.runs
            if run.state == "success"
            and ("airflow.dag_run.success", run.dag_id, run.run_id) not in self.heard
        ]

    def _missing_mails(self) -> list[str]:
        missing = []
        if not any(mail.state == "sent" for mail in self.mails):
            states = ", ".join(f"{mail.state} ({mail.reason})" for mail in self.mails) or "there is none"
            missing.append(f"the mail about the run is not sent: {states}")
        if self.mailbox and not self.reports:
            missing.append("the DAG's report has not arrived in the mailbox")
        return missing


async def begin(airflow: AirflowClient) -> Run:
    """Wait until the DAGs are known and trigger the training run. Never ends if one cannot be read."""

    async def known() -> bool:
        return await airflow.active_dags() >= DAGS

    await until(known)
    return await airflow.trigger(TRAINING)


async def unread(airflow: AirflowClient) -> str:
    """Which of the DAGs Airflow does not have, and why."""
    absent = ", ".join(sorted(DAGS - await airflow.active_dags()))
    return "\n  ".join([f"Airflow does not have, or has paused: {absent}", *await airflow.import_errors()])


async def play(story: Story, airflow: AirflowClient, monitor: httpx.AsyncClient) -> None:
    """Until nothing is missing. Raises NotAllHappened as soon as a run has failed."""

    async def through() -> bool:
        await _look_at_runs(story, airflow)
        await _look_at_mails(story, monitor)
        if failed := story.failure():
            tasks = ", ".join(await airflow.failed_tasks(failed)) or "no task"
            raise NotAllHappened(f"{failed.dag_id} failed (in {tasks})")
        return not story.missing()

    await until(through)


async def _look_at_runs(story: Story, airflow: AirflowClient) -> None:
    story.training = await airflow.run(TRAINING, story.training.run_id)
    story.assets = await airflow.asset_events(story.training)
    story.release = await _began_by(story.assets, RELEASE, airflow)
    if story.release:
        story.promoted = await airflow.asset_events(story.release)
        story.scoring = await _began_by(story.promoted, SCORING, airflow)
        # A release that kept the champion updates no asset, and then nothing is to be scored anew.
        story.scoring_due = bool(story.promoted) or story.release.state != "success"


async def _began_by(events: list[AssetEvent], dag_id: str, airflow: AirflowClient) -> Run | None:
    for event in events:
        for began, run_id in event.began:
            if began == dag_id:
                return await airflow.run(dag_id, run_id)
    return None


async def _look_at_mails(story: Story, monitor: httpx.AsyncClient) -> None:
    answer = await monitor.get("/api/v1/deliveries", params={"dag_id": TRAINING})
    if answer.is_success:
        story.mails = [
            Mail(row["subject"] or "", row["state"], row["reason"])
            for row in answer.json()["deliveries"]
            if row["run_id"] == story.training.run_id
        ]
    if story.mailbox:
        story.reports = await asyncio.to_thread(_reports, story.mailbox, story.training.run_id)


def _reports(mailbox: Mailbox, run_id: str) -> list[str]:
    """The subjects of the mails about a run that came in by SMTP (the monitor files its own directly)."""
    found = []
    for summary in mailbox.mails(LOOKED_THROUGH):
        mail = mailbox.get(summary.id)
        body = mail.get_body() if mail and mail["Return-Path"] else None
        if body and run_id in body.get_content():
            found.append(summary.subject)
    return found


def mailbox_of(setup: Setup) -> Mailbox | None:
    """The embedded mailbox, if mail goes there."""
    return None if setup.settings.smtp_host else Mailbox(setup.home.root / "mailbox", utc_now)
