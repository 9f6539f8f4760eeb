"""Commands that answer a question and change nothing: check, explain, try-rules, preview."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from monitor import answers
from monitor.channels import check_apprise_url
from monitor.check import check as run_check
from monitor.cli.command import EXIT_FAILED, cli, fail, refuse, say, settings_or_exit
from monitor.clock import utc_now
from monitor.database import Database
from monitor.errors import SettingsError
from monitor.notify.explain import explain as explain_event
from monitor.notify.replay import replay
from monitor.plain_text import for_terminal
from monitor.render import Renderer
from monitor.render.choice import choose
from monitor.render.preview import preview as show_preview
from monitor.rules import RulesError
from monitor.rules.in_force import live_rules, rules_of
from monitor.settings import load_environment

TRY_DAYS = 7.0  # a week has every weekday's runs


@cli.command()
def check() -> None:
    """Prove each connection (database, Airflow, mail, ingest), read the rules file, and say what to mend."""
    findings = asyncio.run(run_check(settings_or_exit(), load_environment(os.environ), check_apprise_url))
    for finding in findings:
        sign, colour = ("ok    ", "green") if finding.ok else ("broken", "red")
        detail = for_terminal(f"{finding.name}: {finding.detail}").replace("\n", "\n        ")
        typer.echo(f"{typer.style(sign, fg=colour)}  {detail}")
        if finding.remedy:
            say(f"        {finding.remedy}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(EXIT_FAILED)


@cli.command()
def explain(
    event_id: Annotated[
        str, typer.Argument(help="The event's id, as the log, a mail and the ledger show it.")
    ],
) -> None:
    """Say what was decided about an event when it came and why, and then what the rules say of it now."""
    settings = settings_or_exit()
    database = Database(settings.database)
    try:
        rules = live_rules(settings, load_environment(os.environ), utc_now, check_apprise_url).current
        found = database.read_now(lambda connection: explain_event(connection, rules, event_id))
    except RulesError as error:
        refuse(str(error))
    finally:
        database.close()
    if not found:
        fail(f"the log has no event {event_id!r}; it keeps {settings.retention_days:g} days")
    for one in found:
        for line in answers.of_event(one):
            say(line)


@cli.command()
def try_rules(
    file: Annotated[Path, typer.Argument(help="A rules file; nothing of it comes into force.")],
    days: Annotated[float, typer.Option(min=0.01, help="How much of the log it is tried on.")] = TRY_DAYS,
) -> None:
    """Print what a rules file would have sent for the last days of the log. Nothing is sent."""
    settings = settings_or_exit()
    database = Database(settings.database)
    try:
        rules = rules_of(file, settings, load_environment(os.environ), check_apprise_url)
        since, within = utc_now() - timedelta(days=days), timedelta(hours=settings.notify_max_age_hours)
        for line in answers.of_replay(replay(database, rules, since, within, choose)):
            say(line)
    except RulesError as error:
        refuse(str(error))
    finally:
        database.close()


@cli.command()
def preview(
    template: Annotated[str | None, typer.Argument(help="One template; default: all.")] = None,
    out: Annotated[Path | None, typer.Option(help="A folder for their HTML and text.")] = None,
    text: Annotated[bool, typer.Option("--text", help="Print the plain text.")] = False,
) -> None:
    """Show the mails with made-up data, your own templates too. Exits 1 where one of them is broken."""
    settings = settings_or_exit()
    renderer = Renderer(
        settings.sender, settings.url, settings.airflow_pages, utc_now, overrides=settings.templates
    )
    try:
        are_well = show_preview(renderer, template, out, text, say)
    except SettingsError as error:
        refuse(str(error))
    if not are_well:
        raise typer.Exit(EXIT_FAILED)
