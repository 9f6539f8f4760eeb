"""The commands `explain`, `replay` and `preview`: the decisions of rules, and the look of messages."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from monitor.cli.typer_app import EXIT_FAILED, cli, fail, format_time, refuse, say, settings_or_exit
from monitor.clock import utc_now
from monitor.database.engine import Database
from monitor.delivery.channels.apprise import check_apprise_url
from monitor.delivery.messages.renderer import Renderer, choose
from monitor.errors import SettingsError
from monitor.notifications.decision import UNDECIDED, UNMATCHED
from monitor.notifications.explain import EventExplanation, Replay, ReplayedDelivery, RuleExplanation, replay
from monitor.notifications.explain import explain as explain_event
from monitor.rules.reload import live_rules, rules_of
from monitor.rules.yaml_source import RulesError
from monitor.settings_loading import load_environment

Say = Callable[[str], None]


@dataclass(frozen=True)
class Preview:
    """What was written of one template."""

    name: str
    subject: str
    problem: str | None
    files: tuple[Path, ...] = ()


def show_previews(renderer: Renderer, template: str | None, out: Path | None, text: bool, say: Say) -> bool:
    """Show one template, or all. `out`: the folder for their HTML and text; None, or `text`: say the text.

    Answers whether every template could be used as it is. Raises SettingsError for a name that is none.
    """
    previews = list(_previews(renderer, template, out))
    for one in previews:
        if text or out is None:
            say(f"Subject: {one.subject}\n\n{renderer.preview(one.name).text}")
        if one.problem:
            say(f"{one.name}: {one.problem}")
        elif one.files:
            say(f"{one.name}: {', '.join(map(str, one.files))}")
    return all(one.problem is None for one in previews)


def _previews(renderer: Renderer, template: str | None, out: Path | None) -> Iterator[Preview]:
    known = [info.name for info in renderer.templates()]
    if template is not None and template not in known:
        raise SettingsError(f"there is no template {template!r}: write one of {', '.join(known)}")
    for name in known if template is None else [template]:
        mail = renderer.preview(name)
        files = _write(out, name, mail.text, mail.html) if out else ()
        yield Preview(name, mail.subject, mail.problem, files)


def _write(folder: Path, name: str, text: str, html: str) -> tuple[Path, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / f"{name}.html", folder / f"{name}.txt"
    for file, content in zip(files, (html, text), strict=True):
        file.write_text(content, encoding="utf-8")
    return files


SHOWN = 40  # messages that are listed one by one; the sums below them hold all


def format_explanation(found: EventExplanation) -> Iterator[str]:
    """What was decided about one event when it came; then, marked as such, what the rules say of it now."""
    event = found.event
    yield f"{event.type}  {event.subject}  {format_time(event.time)}  ({event.deployment})"
    yield "  decided when it came:"
    decided = [line for line in found.lines if line.decisions]
    for line in decided:
        yield from _format_decisions(line)
    if not decided:
        yield "    nothing: nobody was notified, because no rule had anything to say of it"
    yield "  as the rules are now, which says nothing of what was decided then:"
    now = [line for line in found.lines if line.rule not in (UNMATCHED, UNDECIDED)]
    for line in now:
        yield f"    {line.rule}: " + (f"does not take it: {line.mismatch}" if line.mismatch else "takes it")
    if not now:
        yield "    no rule is in force"


def _format_decisions(line: RuleExplanation) -> Iterator[str]:
    for decision in line.decisions:
        name = "" if line.rule == UNMATCHED else f"{line.rule}: "
        outcome = _format_outcome(decision.outcome, decision.reason)
        yield f"    {name}{outcome} ({format_time(decision.created_at)})"
    for delivery in line.deliveries:
        whom = f"{delivery.channel.value} {delivery.recipient}"
        what = f"delivery {delivery.id}, {delivery.kind.value} to {whom}"
        yield f"      {what}: {_format_outcome(delivery.state.value, delivery.reason)}"


def _format_outcome(outcome: str, reason: str) -> str:
    """The outcome's word once: most reasons begin with it, or say it in full."""
    return reason if reason.startswith((outcome, "nobody was notified")) else f"{outcome}: {reason}"


def format_replay(found: Replay) -> Iterator[str]:
    """What a rules file would have told."""
    for told in found.told[:SHOWN]:
        yield _message(told)
    if len(found.told) > SHOWN:
        yield f"… and {len(found.told) - SHOWN} more"
    sums = Counter((one.delivery.rule, one.delivery.kind.value, one.delivery.recipient) for one in found.told)
    yield f"{found.events} events, {len(found.told)} messages"
    for (rule, kind, recipient), number in sorted(sums.items()):
        yield f"  {number:>6}  {rule}: {kind} to {recipient}"
    for rule, number in sorted(found.suppressed.items()):
        yield f"  {number:>6}  {rule}: notified nobody"


def _message(told: ReplayedDelivery) -> str:
    one = told.delivery
    about = one.dag_id or one.event_id
    several = f", {told.events} events" if told.events > 1 else ""
    at = format_time(one.next_attempt_at)
    return f"{at}  {one.rule}: {one.kind.value} to {one.recipient}: {about}{several}"


TRY_DAYS = 7.0  # a week has every weekday's runs


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
        for line in format_explanation(one):
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
        for line in format_replay(replay(database, rules, since, within, choose)):
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
        are_well = show_previews(renderer, template, out, text, say)
    except SettingsError as error:
        refuse(str(error))
    if not are_well:
        raise typer.Exit(EXIT_FAILED)
