"""The commands `explain`, `try-rules` and `preview`: the decisions of rules, and the look of messages."""

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

import typer
from sqlalchemy import Connection

from monitor.cli.typer_app import EXIT_FAILED, cli, fail, format_time, refuse, say, settings_or_exit
from monitor.clock import utc_now
from monitor.database.engine import Database
from monitor.delivery.channels.apprise import check_apprise_url
from monitor.delivery.messages.renderer import Renderer, choose
from monitor.errors import SettingsError
from monitor.event_log import read
from monitor.event_log.filters import Filter
from monitor.events.event import parse_event
from monitor.notifications import incidents
from monitor.notifications.decision import UNDECIDED, UNMATCHED
from monitor.notifications.explain import EventExplanation, Replay, ReplayedDelivery, RuleExplanation, replay
from monitor.notifications.explain import explain as explain_event
from monitor.notifications.outbox import decisions, queries
from monitor.rules.reload import live_rules, rules_of
from monitor.rules.ruleset import Rules
from monitor.rules.yaml_source import RulesError
from monitor.settings_loading import load_environment

Say = Callable[[str], None]


@dataclass(frozen=True)
class Preview:
    """The preview of one template, with the files that were written."""

    name: str
    subject: str
    problem: str | None
    files: tuple[Path, ...] = ()


def show_previews(renderer: Renderer, template: str | None, out: Path | None, text: bool, say: Say) -> bool:
    """Show one template, or all, and return True if each could be used as it is.

    `out` is the folder for HTML and text. Without `out`, or with `text`, the text is said. Raises
    SettingsError for an unknown name."""
    previews = list(_previews(renderer, template, out))
    for preview in previews:
        if text or out is None:
            say(f"Subject: {preview.subject}\n\n{renderer.preview(preview.name).text}")
        if preview.problem:
            say(f"{preview.name}: {preview.problem}")
        elif preview.files:
            say(f"{preview.name}: {', '.join(map(str, preview.files))}")
    return all(preview.problem is None for preview in previews)


def _previews(renderer: Renderer, template: str | None, out: Path | None) -> Iterator[Preview]:
    names = [info.name for info in renderer.templates()]
    if template is not None and template not in names:
        raise SettingsError(f"there is no template {template!r}: write one of {', '.join(names)}")
    for name in names if template is None else [template]:
        mail = renderer.preview(name)
        files = _write(out, name, mail.text, mail.html) if out else ()
        yield Preview(name, mail.subject, mail.problem, files)


def _write(folder: Path, name: str, text: str, html: str) -> tuple[Path, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / f"{name}.html", folder / f"{name}.txt"
    for file, content in zip(files, (html, text), strict=True):
        file.write_text(content, encoding="utf-8")
    return files


SHOWN = 40  # messages that are listed one by one. The sums below them hold all


def format_explanation(found: EventExplanation) -> Iterator[str]:
    """Yield the decisions about one event when it came, and then the answer of the present rules."""
    yield from format_decided(found)
    yield "  as the rules are now, which says nothing of what was decided then:"
    now = [line for line in found.lines if line.rule not in (UNMATCHED, UNDECIDED)]
    for line in now:
        yield f"    {line.rule}: " + (f"does not take it: {line.mismatch}" if line.mismatch else "takes it")
    if not now:
        yield "    no rule is in force"


def format_decided(found: EventExplanation) -> Iterator[str]:
    """Yield the decisions about one event when it came."""
    event = found.event
    yield f"{event.type}  {event.subject}  {format_time(event.time)}  ({event.deployment})"
    yield "  decided when it came:"
    decided = [line for line in found.lines if line.decisions]
    for line in decided:
        yield from _format_decisions(line)
    if not decided:
        yield "    nothing: nobody was notified, because no rule had anything to say of it"


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
    """Return the outcome and the reason, or the reason alone if it names the outcome."""
    return reason if reason.startswith((outcome, "nobody was notified")) else f"{outcome}: {reason}"


def format_replay(found: Replay) -> Iterator[str]:
    """Yield the messages that a rules file would have sent, and their sums."""
    for replayed in found.deliveries[:SHOWN]:
        yield _message(replayed)
    if len(found.deliveries) > SHOWN:
        yield f"… and {len(found.deliveries) - SHOWN} more"
    sums = Counter(
        (item.delivery.rule, item.delivery.kind.value, item.delivery.recipient) for item in found.deliveries
    )
    yield f"{found.events} events, {len(found.deliveries)} messages"
    for (rule, kind, recipient), number in sorted(sums.items()):
        yield f"  {number:>6}  {rule}: {kind} to {recipient}"
    for rule, number in sorted(found.suppressed.items()):
        yield f"  {number:>6}  {rule}: notified nobody"


def _message(replayed: ReplayedDelivery) -> str:
    delivery = replayed.delivery
    about = delivery.dag_id or delivery.event_id
    several = f", {replayed.events} events" if replayed.events > 1 else ""
    at = format_time(delivery.next_attempt_at)
    return f"{at}  {delivery.rule}: {delivery.kind.value} to {delivery.recipient}: {about}{several}"


TRY_DAYS = 7.0  # a week has every weekday's runs


ACCEPTED = """windsock explain accepts, as pages, mails and `windsock tail` show them:
  an event      windsock explain run:3f2a9c0e7b1d:failed
  a run         windsock explain etl manual__2026-11-22T10:00:00+00:00
  a run's page  windsock explain 'http://airflow:8080/dags/etl/runs/manual__1' (or Windsock's own)
  an incident   windsock explain incident 12
  a delivery    windsock explain delivery 34"""
MAX_EVENTS = 1_000  # of one run: a mapped task may have thousands, and the latest hold its end
NUMBERED = ("incident", "delivery")
MAX_NUMBER = 2**63 - 1  # what a BIGINT holds
_AIRFLOW_RUN = re.compile(r"/dags/(?P<dag_id>[^/]+)/runs/(?P<run_id>[^/]+)")
_WINDSOCK_RUN = re.compile(r"/(?:runs|logs|details)/(?P<deployment>[^/]+)/(?P<dag_id>[^/]+)/(?P<run_id>.+)")
_WINDSOCK_PAGE = re.compile(r"/(?P<kind>incidents|deliveries)/(?P<number>[0-9]+)")


@dataclass(frozen=True)
class Question:
    """A user's question: `kind` is event, run, incident or delivery."""

    kind: str
    name: str
    """The event's id, the run's id, or a number."""
    dag_id: str | None = None
    deployment: str | None = None

    def __str__(self) -> str:
        of_dag = f" of DAG {self.dag_id}" if self.dag_id else ""
        return f"{self.kind} {self.name}{of_dag}"


def understand(words: Sequence[str]) -> list[Question]:
    """Return the questions that the words may mean, the likeliest first. Empty if they mean nothing."""
    match words:
        case [("incident" | "delivery") as kind, number]:
            return [Question(kind, number)] if _is_number(number) else []
        case ["event", event_id]:
            return [Question("event", event_id)]
        case ["run", dag_id, run_id] | [dag_id, run_id]:
            return [Question("run", run_id, dag_id)]
        case [word] if "://" in word:
            return _understand_url(word)
        case [word] if _is_number(word):
            return [Question(kind, word) for kind in NUMBERED]
        case [word]:
            dag_id, _, run_id = word.partition("/")
            run = [Question("run", run_id, dag_id)] if dag_id and run_id else []
            return [Question("event", word), *run]
    return []


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and int(word[:20]) <= MAX_NUMBER


def _understand_url(url: str) -> list[Question]:
    path = urlsplit(url).path
    if found := _AIRFLOW_RUN.search(path):
        return [Question("run", unquote(found["run_id"]), unquote(found["dag_id"]))]
    if found := _WINDSOCK_RUN.search(path):
        deployment, dag_id, run_id = map(unquote, found.groups())
        return [Question("run", run_id, dag_id, deployment)]
    if found := _WINDSOCK_PAGE.search(path):
        kind = "incident" if found["kind"] == "incidents" else "delivery"
        return [Question(kind, found["number"])] if _is_number(found["number"]) else []
    return []


def answer(connection: Connection, rules: Rules, question: Question) -> list[str]:
    """Return the lines of the explanation. Empty if the log has no such thing."""
    match question.kind:
        case "incident":
            return _explain_incident(connection, rules, int(question.name))
        case "delivery":
            return _explain_delivery(connection, rules, int(question.name))
        case "run":
            return _explain_run(connection, rules, question)
    found = explain_event(connection, rules, question.name)
    return [line for explanation in found for line in format_explanation(explanation)]


def _explain_incident(connection: Connection, rules: Rules, number: int) -> list[str]:
    incident = incidents.find(connection, number)
    if incident is None:
        return []
    lines = [f"{incident.title}  ({incident.deployment})"]
    lines.append(f"  opened {format_time(incident.opened_at)}, {incident.failures} failures")
    if incident.closed_at:
        by = f" by {incident.closed_by}" if incident.closed_by else ""
        lines.append(f"  closed {format_time(incident.closed_at)}{by}: {incident.closed_because}")
    if incident.acked_at:
        until = f" until {format_time(incident.ack_until)}" if incident.ack_until else ""
        lines.append(f"  acknowledged {format_time(incident.acked_at)} by {incident.acked_by}{until}")
    if incident.assigned_at:
        lines.append(f"  taken over {format_time(incident.assigned_at)} by {incident.assignee}")
    decided = decisions.decisions_of_incident(connection, number)
    return [*lines, *_explain_events(connection, rules, [decision.event_id for decision in decided])]


def _explain_delivery(connection: Connection, rules: Rules, number: int) -> list[str]:
    found = queries.find(connection, number)
    if found is None:
        return []
    whom = f"{found.channel.value} {found.recipient}"
    lines = [f"{found.kind.value} to {whom}: {_format_outcome(found.state.value, found.reason)}"]
    lines += [
        f"  {format_time(attempt.at)}  {attempt.outcome}: {attempt.answer}"
        for attempt in queries.attempts(connection, number)
    ]
    decided = decisions.decisions_of_notification(connection, found.notification_id)
    return [*lines, *_explain_events(connection, rules, [decision.event_id for decision in decided])]


def _explain_run(connection: Connection, rules: Rules, question: Question) -> list[str]:
    """Return the explanation of the run's events with decisions, or else of its last event."""
    event_filter = Filter.from_values(
        dag_id=[question.dag_id or ""],
        run_id=[question.name],
        deployment=[question.deployment] if question.deployment else [],
    )
    logged = read.read_before(connection, None, MAX_EVENTS, event_filter)
    events = [parse_event(json.loads(row.body)) for row in reversed(logged)]
    # A filter reads * and ? in a name as globs. Here they are letters.
    events = [
        event
        for event in events
        if (event.get("dag_id"), event.get("run_id")) == (question.dag_id, question.name)
    ]
    if not events:
        return []
    ids = [event.id for event in events]
    decided = [decision.event_id for decision in decisions.decisions_of_events(connection, ids)]
    lines = [f"{len(events)} events, the last one {events[-1].type} ({format_time(events[-1].time)})"]
    if decided:
        return [*lines, *_explain_events(connection, rules, decided)]
    found = explain_event(connection, rules, ids[-1])
    return [*lines, *(line for explanation in found for line in format_explanation(explanation))]


def _explain_events(connection: Connection, rules: Rules, event_ids: Iterable[str]) -> Iterator[str]:
    for event_id in dict.fromkeys(event_ids):
        for explanation in explain_event(connection, rules, event_id):
            yield from format_decided(explanation)
            yield f"    event {event_id}"


@cli.command()
def explain(
    what: Annotated[
        list[str],
        typer.Argument(
            help="An event's id, DAG_ID RUN_ID, the address of a run in Airflow or Windsock, "
            "incident NUMBER, or delivery NUMBER."
        ),
    ],
) -> None:
    """Say who was notified of an event, a run, an incident or a delivery, and why.

    If there was no notification, the command gives the reason.

    For a single event it also says what the rules, as they are now, make of it."""
    questions = understand(what)
    if not questions:
        fail(f"{' '.join(what)!r} is none of these.\n{ACCEPTED}")
    settings = settings_or_exit()
    database = Database(settings.database)
    try:
        rules = live_rules(settings, load_environment(os.environ), utc_now, check_apprise_url).current
        answers = {
            question: database.read_now(partial(answer, rules=rules, question=question))
            for question in questions
        }
    except RulesError as error:
        refuse(str(error))
    finally:
        database.close()
    for explanation, lines in answers.items():
        if lines:
            say(f"Understood as {explanation}:")
        for line in lines:
            say(line)
    if not any(answers.values()):
        looked = " and no ".join(map(str, questions))
        fail(f"the log has no {looked}; it keeps {settings.retention_days:g} days.\n{ACCEPTED}")


@cli.command()
def try_rules(
    file: Annotated[Path, typer.Argument(help="A rules file. It does not come into force.")],
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
    template: Annotated[str | None, typer.Argument(help="One template, or all by default.")] = None,
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
