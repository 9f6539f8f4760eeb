"""The report of `windsock up` in the terminal."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar

import httpx
from rich.console import Console, RenderableType
from rich.markup import escape

from monitor.cli.feed_client import RESET, follow
from monitor.cli.tail_lines import render
from monitor.cli.up.airflow import AirflowClient, AssetEvent, DagRun
from monitor.cli.up.home import ADMIN
from monitor.cli.up.processes import NotAllHappened, Processes
from monitor.cli.up.setup import Setup
from monitor.clock import utc_now
from monitor.delivery.channels.mailbox import Mailbox
from monitor.errors import AirflowUnreachable
from monitor.events.identity import stamp
from monitor.plain_text import sanitize_for_terminal


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Print to nobody from now on. (Rich would end the process, and what was started with it.)"""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class Screen:
    """Prints; a reader that has gone away stops nothing."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or _Console(highlight=False, soft_wrap=True)
        self._doing: list[str] = []
        self._spinner = self._console.status("")

    def show(self, what: RenderableType = "") -> None:
        """Print something that rich can draw, or text with rich's markup."""
        with contextlib.suppress(
            OSError
        ):  # the terminal is gone: what is being stopped is stopped all the same
            self._console.print(what)

    def say(self, text: str) -> None:
        """Print a line, as it is."""
        self.show(f"[bold]windsock[/bold]  {escape(sanitize_for_terminal(text))}")

    def refuse(self, text: str) -> None:
        """Print what went wrong."""
        self.show(f"[bold red]windsock[/bold red]  {escape(sanitize_for_terminal(text))}")

    @contextlib.contextmanager
    def step(self, doing: str) -> Iterator[None]:
        """Say what is being done while it is, and how long it took."""
        began = time.monotonic()
        self._doing.append(doing)
        self._spin()
        try:
            yield
            self.say(f"{doing} … {time.monotonic() - began:.1f} s")
        finally:
            self._doing.remove(doing)
            self._spin()

    def _spin(self) -> None:
        """One spinner for all that is being done; only where somebody sees it turn."""
        with contextlib.suppress(OSError):
            if self._doing and self._console.is_terminal:
                self._spinner.update(escape(sanitize_for_terminal(", ".join(self._doing))))
                self._spinner.start()
            else:
                self._spinner.stop()


Heard = set[tuple[str, str, str]]
"""(type, dag_id, run_id) of run events; (type, asset's name, source_run_id) of asset updates."""


class FeedRecorder:
    """Shows every event from now on, and keeps what the story asks for."""

    def __init__(self, monitor: httpx.AsyncClient, screen: Screen) -> None:
        self.heard: Heard = set()
        self._monitor = monitor
        self._screen = screen
        self._since = stamp(utc_now())

    async def run(self) -> None:
        """Never ends. Raises TailRefused where the monitor does not let us read."""
        async for message in follow(self._monitor, {"since": self._since}):
            if message.type != RESET:
                self._remember(message.type, message.data["data"])
            self._screen.show(render(message))

    def _remember(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "airflow.asset.updated":
            self.heard.add((kind, data["asset"]["name"], data["source_run_id"] or ""))
        elif kind.startswith("airflow.dag_run."):
            self.heard.add((kind, data["dag_id"], data["run_id"]))


T = TypeVar("T")
POLL_SECONDS = 0.8  # a look at the runs costs the api-server some 60 ms of a core that the tasks need too


@dataclass(frozen=True)
class Stack:
    """The processes, the ways to talk to them, and the moment by which all must be through."""

    setup: Setup
    processes: Processes
    screen: Screen
    airflow: AirflowClient
    monitor: httpx.AsyncClient
    deadline: float
    """On the monotonic clock."""

    async def wait_for(self, work: Awaitable[T]) -> T:
        """Do it before the deadline. Raises asyncio.TimeoutError."""
        return await asyncio.wait_for(work, max(0, self.deadline - monotonic()))


async def poll_until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again, a server that is not ready too: another process knows, and it cannot wake us."""
    while True:
        with contextlib.suppress(AirflowUnreachable):
            if await condition():
                return
        await asyncio.sleep(POLL_SECONDS)


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
class DemoProgress:
    """What has happened so far."""

    training: DagRun
    heard: Heard
    """What the feed has shown."""
    mailbox: Mailbox | None
    """Where the DAG's own mail arrives, if it goes there."""
    release: DagRun | None = None
    scoring: DagRun | None = None
    scoring_due: bool = True
    assets: list[AssetEvent] = field(default_factory=list)
    promoted: list[AssetEvent] = field(default_factory=list)
    mails: list[Mail] = field(default_factory=list)
    """The monitor's."""
    reports: list[str] = field(default_factory=list)
    """The subjects of the DAG's own mails."""

    @property
    def runs(self) -> list[DagRun]:
        return [run for run in (self.training, self.release, self.scoring) if run]

    def missing(self) -> list[str]:
        """What has not happened yet, in words; nothing: all of it has."""
        return [*self._missing_runs(), *self._missing_events(), *self._missing_mails()]

    def failure(self) -> DagRun | None:
        """A run that can no longer succeed."""
        return next((run for run in self.runs if run.state == "failed"), None)

    def _missing_runs(self) -> list[str]:
        runs = [(TRAINING, self.training), (RELEASE, self.release)]
        if self.scoring_due:
            runs.append((SCORING, self.scoring))
        return [
            f"{dag_id} is {run.state}" if run else f"{dag_id} has not started"
            for dag_id, run in runs
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


async def begin(airflow: AirflowClient) -> DagRun:
    """Wait until the DAGs are known and trigger the training run. Never ends if one cannot be read."""

    async def has_dags() -> bool:
        return await airflow.active_dags() >= DAGS

    await poll_until(has_dags)
    return await airflow.trigger(TRAINING)


async def unread(airflow: AirflowClient) -> str:
    """Which of the DAGs Airflow does not have, and why."""
    absent = ", ".join(sorted(DAGS - await airflow.active_dags()))
    errors = _bounded(await airflow.import_errors())
    return "\n  ".join([f"Airflow does not have, or has paused: {absent}", *errors])


async def play(progress: DemoProgress, airflow: AirflowClient, monitor: httpx.AsyncClient) -> None:
    """Until nothing is missing. Raises NotAllHappened as soon as a run has failed."""

    async def through() -> bool:
        await _look_at_runs(progress, airflow)
        await _look_at_mails(progress, monitor)
        if failed := progress.failure():
            tasks = ", ".join(await airflow.list_failed_tasks(failed)) or "no task"
            raise NotAllHappened(f"{failed.dag_id} failed (in {tasks})")
        return not progress.missing()

    await poll_until(through)


async def _look_at_runs(progress: DemoProgress, airflow: AirflowClient) -> None:
    progress.training = await airflow.run(TRAINING, progress.training.run_id)
    progress.assets = await airflow.asset_events(progress.training)
    progress.release = await _began_by(progress.assets, RELEASE, airflow)
    if progress.release:
        progress.promoted = await airflow.asset_events(progress.release)
        progress.scoring = await _began_by(progress.promoted, SCORING, airflow)
        # A release that kept the champion updates no asset, and then nothing is to be scored anew.
        progress.scoring_due = bool(progress.promoted) or progress.release.state != "success"


async def _began_by(events: list[AssetEvent], dag_id: str, airflow: AirflowClient) -> DagRun | None:
    for event in events:
        for began, run_id in event.began:
            if began == dag_id:
                return await airflow.run(dag_id, run_id)
    return None


async def _look_at_mails(progress: DemoProgress, monitor: httpx.AsyncClient) -> None:
    answer = await monitor.get("/api/v1/deliveries", params={"dag_id": TRAINING})
    if answer.is_success:
        progress.mails = [
            Mail(row["subject"] or "", row["state"], row["reason"])
            for row in answer.json()["deliveries"]
            if row["run_id"] == progress.training.run_id
        ]
    if progress.mailbox:
        progress.reports = await asyncio.to_thread(_reports, progress.mailbox, progress.training.run_id)


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


METRICS = ("accuracy", "roc_auc", "f1")
COLOURS = {"success": "green", "sent": "green", "failed": "red", "dead": "red"}


MAX_SHOWN = 3  # lines of one heading: the whole result stays within 20 lines


def summary(progress: DemoProgress, memory: float) -> str:
    """Return the result in a sentence, then runs, metrics, assets, mails and memory. With rich's markup."""
    return _columns(
        {
            "result": _result(progress),
            "runs": _runs(progress),
            "metrics": _metrics(progress),
            "assets": _bounded(_assets(progress)),
            "mails": _bounded(_mails(progress)),
            "memory": [f"{memory:.0f} MB at the most, all processes together"],
        }
    )


def _result(progress: DemoProgress) -> list[str]:
    missing = progress.missing()
    if not missing:
        return ["[green]✔ everything happened: the DAGs ran, the feed showed it, and the mails were sent[/]"]
    return [f"[red]✖ {escape(text)}[/]" for text in _bounded(missing)]


def _bounded(lines: list[str]) -> list[str]:
    left = len(lines) - MAX_SHOWN
    return lines if left <= 0 else [*lines[: MAX_SHOWN - 1], f"and {left + 1} more"]


def addresses(setup: Setup) -> str:
    """Where to look, and the login. With rich's markup."""
    return _columns(
        {
            "Windsock": [escape(setup.settings.url)],
            "Airflow": [escape(str(setup.settings.airflow_url))],
            "login": [escape(f"{ADMIN} / {setup.secrets.airflow_password}  (for both)")],
            "logs": [escape(f"{setup.home.logs} and {setup.home.airflow / 'logs'}")],
        }
    )


def _columns(parts: Mapping[str, Sequence[str]]) -> str:
    """Headings at the left, their lines beside them, never folded: a terminal's copy keeps them whole."""
    return "\n".join(
        f"[bold]{'' if number else heading:<10}[/bold]{line}"
        for heading, lines in parts.items()
        for number, line in enumerate(lines or ["none"])
    )


def where_to_look(setup: Setup) -> str:
    """A sentence that names the logs."""
    return f"The logs are in {setup.home.logs} and {setup.home.airflow / 'logs'}"


def _runs(progress: DemoProgress) -> list[str]:
    lines = []
    for run in progress.runs:
        took = f" in {run.seconds:.1f} s" if run.seconds is not None else ""
        lines.append(f"{escape(run.dag_id)}  {_colorize(run.state)}{took}  [dim]{escape(run.run_id)}[/dim]")
    if not progress.scoring_due:
        lines.append("scoring  not due: the champion stays")
    return lines


def _metrics(progress: DemoProgress) -> list[str]:
    for event in progress.assets:
        if event.asset in MODEL_ASSETS and all(name in event.extra for name in METRICS):
            return [", ".join(f"{name} {float(event.extra[name]):.4f}" for name in METRICS)]
    return []


def _assets(progress: DemoProgress) -> list[str]:
    return [
        f"{escape(event.asset)}  {_digest(event.extra)}began {escape(_began(event))}"
        for event in (*progress.assets, *progress.promoted)
    ]


def _began(event: AssetEvent) -> str:
    return ", ".join(dag_id for dag_id, _ in event.began) or "nothing yet"


def _digest(extra: Mapping[str, Any]) -> str:
    return f"sha256 {escape(str(extra['sha256'])[:12])}…  " if extra.get("sha256") else ""


def _mails(progress: DemoProgress) -> list[str]:
    sent = [f"{_colorize(mail.state)}  {escape(mail.subject)}" for mail in progress.mails]
    return sent + [
        f"{_colorize('sent')}  {escape(subject)}  [dim](the DAG's own)[/dim]" for subject in progress.reports
    ]


def _colorize(state: str) -> str:
    return f"[{COLOURS.get(state, 'yellow')}]{escape(state)}[/]"
