"""The descriptions, for people, of rules, of decisions, and of silences that cover a whole Airflow."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from fastapi import Request
from sqlalchemy import Connection

from monitor.database.types import read_each
from monitor.event_log.filters import AllowedDags
from monitor.event_log.read import LoggedEvent
from monitor.notifications import incident_signals, silences
from monitor.notifications.outbox import decisions as outbox_decisions
from monitor.notifications.outbox.records import Decision
from monitor.notifications.silences import Silence, SilenceScope
from monitor.rules.field_types import format_duration, matches_any
from monitor.rules.model import Config, Match, QuietHours, Receiver, Rule, Watch
from monitor.web.auth.authenticator import Principal
from monitor.web.services import Services

NOTIFIES_ON: Mapping[str, str] = {
    "first_failure": "the first failure, and then follow-ups",
    "every_failure": "every failure",
    "recovered": "recoveries",
    "success": "every success",
    "notice": "notices",
}
FIELDS: Mapping[str, str] = {
    "type": "type",
    "deployment": "Airflow",
    "dag_id": "DAG",
    "task_id": "task",
    "run_type": "run type",
    "asset": "asset",
    "tags": "tag",
    "owners": "owner",
    "attempt": "try",
}
EVERYTHING = "everything"
WATCHES: Mapping[str, str] = {
    "missing": "a run that does not begin when it should",
    "late": "a run that begins later than it should",
    "stuck": "a run that takes unusually long",
    "stale": "an asset that is not updated",
    "unconsumed": "an update of an asset that no run takes up",
    "auto_paused": "a DAG that Airflow has paused after too many failed runs",
    "component": "a scheduler, triggerer or dag-processor of Airflow that has died",
    "unreachable": "an Airflow that cannot be reached",
    "mail": "mail that cannot be sent",
}


@dataclass(frozen=True)
class ConfigSummary:
    """A thing of the rules file: its name, and facts as label and text."""

    name: str
    facts: tuple[tuple[str, str], ...]


def rule(config_rule: Rule) -> ConfigSummary:
    """Return the summary of a rule."""
    return ConfigSummary(config_rule.name, tuple(_rule(config_rule)))


def _rule(rule: Rule) -> Iterator[tuple[str, str]]:
    yield "Matches", match(rule.match)
    yield "Notifies on", ", ".join(NOTIFIES_ON[name] for name in rule.notify_on) or "nothing"
    route = "whom the DAG names in its tags and owners" if rule.route else ""
    yield "To", ", ".join([*rule.to, *([route] if route else [])]) or "nobody"
    yield "Grouped", _group(rule)
    if rule.repeat:
        yield "Reminds", f"every {format_duration(rule.repeat)}, until it is acknowledged or resolved"
    if rule.quiet_hours:
        yield "Quiet hours", ", ".join(rule.quiet_hours)
    if rule.flapping:
        often = f"{rule.flapping.openings} openings within {format_duration(rule.flapping.within)}"
        yield "Flapping", f"after {often}: reported once"
    if rule.template:
        yield "Templates", ", ".join(f"{kind}: {name}" for kind, name in rule.template.items())
    if rule.last:
        yield "Then", "rules below are not evaluated"


def _group(rule: Rule) -> str:
    texts = [f"the same {', '.join(FIELDS.get(name, name) for name in rule.group.by)}"]
    if rule.group.wait:
        texts.append(f"gathered for {format_duration(rule.group.wait)}")
    if rule.group.interval is not None:
        texts.append(f"at most every {format_duration(rule.group.interval)}")
    return "; ".join(texts)


def match(config_match: Match) -> str:
    """Return a match in words: `type airflow.dag_run.*, and DAG etl or load`."""
    texts = [
        f"{label} {' or '.join(map(str, getattr(config_match, name)))}"
        for name, label in FIELDS.items()
        if getattr(config_match, name) not in ((), ("*",))
    ]
    if config_match.any_of:
        texts.append(" or ".join(f"({match(inner)})" for inner in config_match.any_of))
    texts += [f"not ({match(inner)})" for inner in config_match.none_of]
    return ", and ".join(texts) or EVERYTHING


def describe_silence(silence: Silence | SilenceScope) -> str:
    """Return what a silence covers, in words."""
    if isinstance(silence, SilenceScope):
        title = silence.incident.title if silence.incident else None
    else:
        title = silence.incident_title
    if title is None:
        text = match(silence.match)
        return f"everything of {text}" if silence.is_whole and text != EVERYTHING else text
    return f"incident “{title}” of Airflow {' or '.join(silence.match.deployment)}"


def receiver(name: str, config_receiver: Receiver) -> ConfigSummary:
    """Return the summary of a receiver."""
    return ConfigSummary(name, tuple(_receiver(config_receiver)))


def _receiver(receiver: Receiver) -> Iterator[tuple[str, str]]:
    if receiver.email:
        yield "Mail", ", ".join(receiver.email)
    if receiver.apprise:
        services = (urlsplit(url.get_secret_value()).scheme or "?" for url in receiver.apprise)
        yield "Apprise", ", ".join(services)
    if receiver.webhook:
        yield "Webhook", ", ".join(_host(webhook.url) for webhook in receiver.webhook)
    if receiver.timezone:
        yield "Times in", receiver.timezone
    if not (receiver.email or receiver.apprise or receiver.webhook):
        yield "Notifies", "nobody"


def _host(url: str) -> str:
    """Return the host of a URL without its path and its user, because either may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or '?'}/…"


def quiet_hours(name: str, hours: QuietHours, config: Config) -> ConfigSummary:
    """Return the summary of quiet hours."""
    zone = hours.timezone or config.timezone
    span = f"{hours.start:%H:%M} to {hours.end:%H:%M} ({zone})"
    return ConfigSummary(name, (("From", span), ("Days", ", ".join(hours.days))))


def watch(config_watch: Watch) -> ConfigSummary:
    """Return the summary of a watch."""
    return ConfigSummary(config_watch.name, tuple(_watch(config_watch)))


def _watch(watch: Watch) -> Iterator[tuple[str, str]]:
    yield "Reports", WATCHES[watch.watch]
    fields = ("deployment", "dag_id", "asset", "tags")
    of = [f"{FIELDS[name]} {' or '.join(values)}" for name in fields if (values := getattr(watch, name))]
    yield "Of", ", and ".join(of) or "all"
    if watch.after is not None:
        yield "After", format_duration(watch.after)
    elif watch.watch in ("stuck", "stale"):
        yield (
            "After",
            f"{watch.spreads:g} spreads above the median, and {format_duration(watch.floor)} at least",
        )


def find_unnotified(
    connection: Connection, logged: Sequence[LoggedEvent], allowed_dags: AllowedDags
) -> dict[int, Decision]:
    """Return, by their seq, the decisions about those events that caused no notification."""
    signals = [logged_event for logged_event in logged if incident_signals.concerns(logged_event.type)]
    ids: list[str] = list(read_each("events", signals, lambda row: json.loads(row.body)["id"]))
    found = why_nobody(outbox_decisions.decisions_of_events(connection, ids, allowed_dags)) if ids else {}
    return {logged_event.seq: found[logged_event.seq] for logged_event in logged if logged_event.seq in found}


def why_nobody(decisions: Iterable[Decision]) -> dict[int, Decision]:
    """Return, by the event's seq, the first decision about each event that caused no notification."""
    first: dict[int, Decision] = {}
    notified = set()
    for decision in decisions:
        first.setdefault(decision.event_seq, decision)
        if decision.notification_id is not None:
            notified.add(decision.event_seq)
    return {seq: decision for seq, decision in first.items() if seq not in notified}


SHOWN = 3  # banners: more say nothing that these do not


@dataclass(frozen=True)
class WholeSilence:
    """A silence of whole Airflows, as far as this reader may know it."""

    airflows: str
    ends_at: datetime
    by: str | None
    """The author and the reason. None if the reader may not see authors of silences of more than one DAG."""


async def load_page_frame(request: Request, services: Services, principal: Principal) -> None:
    """Read what every page shows: the silences of whole Airflows, and the time zone of mails."""
    request.state.mail_zone = services.rules.current.config.timezone
    now = services.clock()
    found = await services.database.read(lambda connection: silences.active(connection, now))
    whole = [silence for silence in found if silence.is_whole]
    if whole:  # hardly ever: what the reader may see is asked for then alone
        request.state.whole_silences = _build_banners(
            whole, await services.authenticator.get_permissions(principal)
        )


def get_whole_silences(request: Request) -> Sequence[WholeSilence]:
    """Return the silences of whole Airflows that the page shows."""
    return getattr(request.state, "whole_silences", ())


def get_mail_zone(request: Request) -> str:
    """Return the rules file's time zone, or UTC on a page for a reader without sign-in."""
    return getattr(request.state, "mail_zone", "UTC")


def _build_banners(whole: Sequence[Silence], allowed_dags: AllowedDags) -> list[WholeSilence]:
    if allowed_dags is None:
        return [
            WholeSilence(_airflows(silence), silence.ends_at, f"{silence.author}: {silence.reason}")
            for silence in whole[:SHOWN]
        ]
    deployments = {deployment for deployment, _ in allowed_dags}
    banners = []
    for silence in whole:
        globs = silence.match.deployment or ("*",)
        if names := sorted(name for name in deployments if matches_any(globs, name)):
            banners.append(WholeSilence(f"the Airflow {' and '.join(names)}", silence.ends_at, None))
    return banners[:SHOWN]


def _airflows(silence: Silence) -> str:
    globs = silence.match.deployment
    return f"the Airflow {' and '.join(globs)}" if globs and "*" not in globs else "every Airflow"
