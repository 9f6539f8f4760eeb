"""What `windsock up` tells at the end."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape

from monitor.up.airflow_client import AssetEvent
from monitor.up.home import ADMIN
from monitor.up.setup import Setup
from monitor.up.story import MODEL_ASSETS, Story

METRICS = ("accuracy", "roc_auc", "f1")
COLOURS = {"success": "green", "sent": "green", "failed": "red", "dead": "red"}


def summary(story: Story, memory: float) -> str:
    """What happened: runs, metrics, assets, mails, memory. With rich's markup."""
    return _columns(
        {
            "runs": _runs(story),
            "metrics": _metrics(story),
            "assets": _assets(story),
            "mails": _mails(story),
            "memory": [f"{memory:.0f} MB at the most, all processes together"],
        }
    )


def addresses(setup: Setup) -> str:
    """Where to look, and the login. With rich's markup."""
    return _columns(
        {
            "Windsock": [escape(setup.settings.url)],
            "Airflow": [escape(str(setup.settings.airflow_url))],
            "login": [escape(f"{ADMIN} / {setup.secrets.airflow_password}  (for both)")],
            "logs": [escape(str(folder)) for folder in (setup.home.logs, setup.home.airflow / "logs")],
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


def _runs(story: Story) -> list[str]:
    lines = []
    for run in story.runs:
        took = f" in {run.seconds:.1f} s" if run.seconds is not None else ""
        lines.append(f"{escape(run.dag_id)}  {_coloured(run.state)}{took}  [dim]{escape(run.run_id)}[/dim]")
    if not story.scoring_due:
        lines.append("scoring  not due: the champion stays")
    return lines


def _metrics(story: Story) -> list[str]:
    for event in story.assets:
        if event.asset in MODEL_ASSETS and all(name in event.extra for name in METRICS):
            return [", ".join(f"{name} {float(event.extra[name]):.4f}" for name in METRICS)]
    return []


def _assets(story: Story) -> list[str]:
    return [
        f"{escape(event.asset)}  {_digest(event.extra)}began {escape(_began(event))}"
        for event in (*story.assets, *story.promoted)
    ]


def _began(event: AssetEvent) -> str:
    return ", ".join(dag_id for dag_id, _ in event.began) or "nothing yet"


def _digest(extra: Mapping[str, Any]) -> str:
    return f"sha256 {escape(str(extra['sha256'])[:12])}…  " if extra.get("sha256") else ""


def _mails(story: Story) -> list[str]:
    sent = [f"{_coloured(mail.state)}  {escape(mail.subject)}" for mail in story.mails]
    return sent + [
        f"{_coloured('sent')}  {escape(subject)}  [dim](the DAG's own)[/dim]" for subject in story.reports
    ]


def _coloured(state: str) -> str:
    return f"[{COLOURS.get(state, 'yellow')}]{escape(state)}[/]"
