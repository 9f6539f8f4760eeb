"""The story of `windsock up`: what must happen after the training run was triggered, and its summary.

`Screen` is the output in the terminal: lines, and a spinner for what is being done."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape

from monitor.airflow.client import AirflowApi
from monitor.airflow.paging import Row
from monitor.cli.tail_lines import render
from monitor.cli.up.home import ADMIN
from monitor.cli.up.processes import NotAllHappened
from monitor.cli.up.setup import Setup
from monitor.delivery.channels.mailbox import Mailbox
from monitor.errors import AirflowUnreachable
from monitor.plain_text import sanitize_for_terminal
from windsock_client import Event, Feed, FeedUnavailable


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Print to nothing from now on.
        Rich would end the process, and with it the processes that it started."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class Screen:
    """The screen. A reader that has gone away stops nothing."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or _Console(highlight=False, soft_wrap=True)
        self._doing: list[str] = []
        self._spinner = self._console.status("")

    def show(self, what: RenderableType = "") -> None:
        """Print something that rich can draw, or text with rich's markup."""
        with contextlib.suppress(OSError):  # without a terminal too, what is being stopped is stopped
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
        """Turn one spinner for all that is being done, in a terminal only."""
        with contextlib.suppress(OSError):
            if self._doing and self._console.is_terminal:
                self._spinner.update(escape(sanitize_for_terminal(", ".join(self._doing))))
                self._spinner.start()
            else:
                self._spinner.stop()


POLL_SECONDS = 0.8  # a look at the runs costs the api-server some 60 ms of a core that the tasks need too
TRAINING, RELEASE, SCORING = "Airflow_Lab2", "release", "scoring"
DAGS = frozenset({TRAINING, RELEASE, SCORING})
MODEL_ASSETS = ("model.pkl", "scaler.pkl")
METRICS = ("accuracy", "roc_auc", "f1")
COLORS = {"success": "green", "sent": "green", "failed": "red", "dead": "red"}
LOOKED_THROUGH = 20  # the latest mails: the report is among them, however many runs there are
ASSET_EVENTS = 100  # of a run. The DAGs of this repository make two
MAX_SHOWN = 3  # lines of one heading: the whole result stays within 20 lines


async def poll_until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again, a server that is not ready too: another process knows, and it cannot wake us."""
    while True:
        with contextlib.suppress(AirflowUnreachable, FeedUnavailable):
            if await condition():
                return
        await asyncio.sleep(POLL_SECONDS)


Heard = set[tuple[str, str, str]]
"""The (type, dag_id, run_id) of run events, and the (type, asset's name, source_run_id) of asset updates."""


async def read_feed(feed: Feed, heard: Heard, screen: Screen) -> None:
    """Show every event, and keep what the story asks for. Raises FeedRefused if the monitor refuses us."""

    def read() -> None:
        for item in feed:
            if isinstance(item, Event):
                _remember(heard, item.type, item.data)
            screen.show(render(item))

    try:
        await asyncio.to_thread(read)
    finally:
        feed.close()


def _remember(heard: Heard, kind: str, data: Mapping[str, Any]) -> None:
    if kind == "airflow.asset.updated":
        heard.add((kind, data["asset"]["name"], data["source_run_id"] or ""))
    elif kind.startswith("airflow.dag_run."):
        heard.add((kind, data["dag_id"], data["run_id"]))


@dataclass
class DemoProgress:
    """The progress of the story so far.
    Runs and updates of assets are Airflow's rows, mails the monitor's."""

    training: Row
    heard: Heard
    """The events that the feed has shown."""
    mailbox: Mailbox | None
    """The mailbox of the DAG's own mail. None if that mail goes to a server."""
    release: Row | None = None
    scoring: Row | None = None
    updates: list[Row] = field(default_factory=list)
    promotions: list[Row] = field(default_factory=list)
    mails: list[Row] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)
    """The subjects of the DAG's own mails."""

    @property
    def runs(self) -> list[Row]:
        """The story's runs so far."""
        return [run for run in (self.training, self.release, self.scoring) if run]

    @property
    def is_scoring_due(self) -> bool:
        """A release that kept the champion updates no asset, and then nothing is to be scored anew."""
        return not self.release or self.release["state"] != "success" or bool(self.promotions)

    def missing(self) -> list[str]:
        """Return what has not happened yet, in words."""
        due = {TRAINING: self.training, RELEASE: self.release}
        due |= {SCORING: self.scoring} if self.is_scoring_due else {}
        missing = [
            f"{dag_id} is {run['state']}" if run else f"{dag_id} has not started"
            for dag_id, run in due.items()
            if run is None or run["state"] != "success"
        ]
        missing += [
            f"the feed has not shown the update of {asset}"
            for asset in MODEL_ASSETS
            if ("airflow.asset.updated", asset, self.training["dag_run_id"]) not in self.heard
        ]
        missing += [
            f"the feed has not shown the success of {run['dag_id']}"
            for run in self.runs
            if run["state"] == "success"
            and ("airflow.dag_run.success", run["dag_id"], run["dag_run_id"]) not in self.heard
        ]
        if not any(mail["state"] == "sent" for mail in self.mails):
            states = ", ".join(f"{mail['state']} ({mail['reason']})" for mail in self.mails)
            missing.append(f"the mail about the run is not sent: {states or 'there is none'}")
        if self.mailbox and not self.reports:
            missing.append("the DAG's report has not arrived in the mailbox")
        return missing


async def begin(airflow: AirflowApi) -> Row:
    """Wait until the DAGs are known and trigger the training run. Never end if one cannot be read."""

    async def has_dags() -> bool:
        return not await _list_absent(airflow)

    await poll_until(has_dags)
    return await airflow.trigger(TRAINING)


async def _list_absent(airflow: AirflowApi) -> frozenset[str]:
    """Return those of the DAGs that Airflow does not have, or has paused."""
    return DAGS - {
        row["dag_id"] async for page in airflow.dags() for row in page.rows if not row.get("is_paused")
    }


async def explain_absent(airflow: AirflowApi) -> str:
    """Say which of the DAGs Airflow does not have, and why."""
    absent = ", ".join(sorted(await _list_absent(airflow)))
    errors = [
        f"{row['filename']}: {row['stack_trace'].strip().splitlines()[-1]}"
        async for page in airflow.import_errors()
        for row in page.rows
    ]
    return "\n  ".join([f"Airflow does not have, or has paused: {absent}", *_bounded(errors)])


async def play(progress: DemoProgress, airflow: AirflowApi, monitor: Feed) -> None:
    """Wait until nothing is missing. Raises NotAllHappened as soon as a run has failed."""

    async def is_through() -> bool:
        await _look_at_runs(progress, airflow)
        await asyncio.to_thread(_look_at_mails, progress, monitor)
        for run in progress.runs:
            if run["state"] == "failed":
                failed = await airflow.task_instances(run["dag_id"], run["dag_run_id"], ["failed"])
                tasks = ", ".join(task["task_id"] for task in failed) or "no task"
                raise NotAllHappened(f"{run['dag_id']} failed (in {tasks})")
        return not progress.missing()

    await poll_until(is_through)


async def _look_at_runs(progress: DemoProgress, airflow: AirflowApi) -> None:
    """Fetch the runs and the updates of assets.

    Airflow 3.3.2 answers 500 for the updates while a run that one of them began has not started."""
    run_id = progress.training["dag_run_id"]
    progress.training = await airflow.dag_run(TRAINING, run_id)
    progress.updates = await airflow.asset_events_of(TRAINING, run_id, ASSET_EVENTS)
    progress.release = await _find_begun(progress.updates, RELEASE, airflow)
    if progress.release:
        release_id = progress.release["dag_run_id"]
        progress.promotions = await airflow.asset_events_of(RELEASE, release_id, ASSET_EVENTS)
        progress.scoring = await _find_begun(progress.promotions, SCORING, airflow)


async def _find_begun(updates: list[Row], dag_id: str, airflow: AirflowApi) -> Row | None:
    """Return the run of this DAG that one of the updates began."""
    run_ids = [
        run["run_id"] for update in updates for run in update["created_dagruns"] if run["dag_id"] == dag_id
    ]
    return await airflow.dag_run(dag_id, run_ids[0]) if run_ids else None


def _look_at_mails(progress: DemoProgress, monitor: Feed) -> None:
    run_id = progress.training["dag_run_id"]
    rows = monitor.get_json("/api/v1/deliveries", {"dag_id": TRAINING})["deliveries"]
    progress.mails = [row for row in rows if row["run_id"] == run_id]
    if progress.mailbox:
        progress.reports = _list_reports(progress.mailbox, run_id)


def _list_reports(mailbox: Mailbox, run_id: str) -> list[str]:
    """Return the subjects of the mails about a run that came by SMTP. The monitor files its own directly."""
    found = []
    for summary in mailbox.mails(LOOKED_THROUGH):
        mail = mailbox.get(summary.id)
        body = mail.get_body() if mail and mail["Return-Path"] else None
        if body and run_id in body.get_content():
            found.append(summary.subject)
    return found


def summary(progress: DemoProgress, memory: float) -> str:
    """Return the result in a sentence, then runs, metrics, assets, mails and memory. With rich's markup."""
    missing = [f"[red]✖ {escape(text)}[/]" for text in _bounded(progress.missing())]
    well = "[green]✔ everything happened: the DAGs ran, the feed showed it, and the mails were sent[/]"
    metrics = (
        ", ".join(f"{name} {float(update['extra'][name]):.4f}" for name in METRICS)
        for update in progress.updates
        if update["name"] in MODEL_ASSETS and set(METRICS) <= set(update["extra"] or ())
    )
    updates = [_describe_update(update) for update in (*progress.updates, *progress.promotions)]
    mails = [f"{_colorize(mail['state'])}  {escape(mail['subject'] or '')}" for mail in progress.mails]
    mails += [
        f"{_colorize('sent')}  {escape(subject)}  [dim](the DAG's own)[/dim]" for subject in progress.reports
    ]
    runs = [_describe_run(run) for run in progress.runs]
    return _columns(
        {
            "result": missing or [well],
            "runs": runs if progress.is_scoring_due else [*runs, "scoring  not due: the champion stays"],
            "metrics": list(metrics)[:1],
            "assets": _bounded(updates),
            "mails": _bounded(mails),
            "memory": [f"{memory:.0f} MB at the most, all processes together"],
        }
    )


def _describe_run(run: Row) -> str:
    took = f" in {run['duration']:.1f} s" if run["duration"] is not None else ""
    return f"{escape(run['dag_id'])}  {_colorize(run['state'])}{took}  [dim]{escape(run['dag_run_id'])}[/dim]"


def _describe_update(update: Row) -> str:
    sha256 = (update["extra"] or {}).get("sha256")
    digest = f"sha256 {escape(str(sha256)[:12])}…  " if sha256 else ""
    began = ", ".join(run["dag_id"] for run in update["created_dagruns"]) or "nothing yet"
    return f"{escape(update['name'])}  {digest}began {escape(began)}"


def _colorize(state: str) -> str:
    return f"[{COLORS.get(state, 'yellow')}]{escape(state)}[/]"


def addresses(setup: Setup) -> str:
    """Return where to look, and the login. With rich's markup."""
    return _columns(
        {
            "Windsock": [escape(setup.settings.url)],
            "Airflow": [escape(str(setup.settings.airflow_url))],
            "login": [escape(f"{ADMIN} / {setup.secrets.airflow_password}  (for both)")],
            "logs": [escape(f"{setup.home.logs} and {setup.home.airflow / 'logs'}")],
        }
    )


def _bounded(lines: list[str]) -> list[str]:
    left = len(lines) - MAX_SHOWN
    return lines if left <= 0 else [*lines[: MAX_SHOWN - 1], f"and {left + 1} more"]


def _columns(parts: Mapping[str, Sequence[str]]) -> str:
    """Put lines at the right of their headings, never folded, so that a terminal copies them whole."""
    return "\n".join(
        f"[bold]{'' if number else heading:<10}[/bold]{line}"
        for heading, lines in parts.items()
        for number, line in enumerate(lines or ["none"])
    )
