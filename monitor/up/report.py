"""What `windsock up` tells at the end."""

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from monitor.up.home import ADMIN
from monitor.up.setup import Setup
from monitor.up.story import MODEL_ASSETS, Story

METRICS = ("accuracy", "roc_auc", "f1")
COLOURS = {"success": "green", "sent": "green", "failed": "red", "dead": "red"}


def summary(story: Story, memory: float) -> RenderableType:
    """What happened: runs, metrics, assets, mails, memory."""
    table = Table.grid(padding=(0, 2))
    for heading, lines in (
        ("runs", _runs(story)),
        ("metrics", _metrics(story)),
        ("assets", _assets(story)),
        ("mails", _mails(story)),
        ("memory", [f"{memory:.0f} MB at the most, all processes together"]),
    ):
        for number, line in enumerate(lines or ["none"]):
            table.add_row("" if number else f"[bold]{heading}[/bold]", line)
    return table


def addresses(setup: Setup) -> RenderableType:
    """Where to look, and the login."""
    table = Table.grid(padding=(0, 2))
    for name, value in (
        ("Windsock", setup.settings.url),
        ("Airflow", str(setup.settings.airflow_url)),
        ("login", f"{ADMIN} / {setup.secrets.airflow_password}  (both)"),
        ("logs", f"{setup.home.logs} and {setup.home.airflow / 'logs'}"),
    ):
        table.add_row(f"[bold]{name}[/bold]", escape(value))
    return table


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
        f"{escape(event.asset)}  sha256 {escape(str(event.extra.get('sha256', '?'))[:12])}…"
        f"  began {escape(', '.join(dag_id for dag_id, _ in event.began) or 'nothing yet')}"
        for event in (*story.assets, *story.promoted)
    ]


def _mails(story: Story) -> list[str]:
    sent = [f"{_coloured(mail.state)}  {escape(mail.subject)}" for mail in story.mails]
    return sent + [
        f"{_coloured('sent')}  {escape(subject)}  [dim](the DAG's own)[/dim]" for subject in story.reports
    ]


def _coloured(state: str) -> str:
    return f"[{COLOURS.get(state, 'yellow')}]{escape(state)}[/]"
