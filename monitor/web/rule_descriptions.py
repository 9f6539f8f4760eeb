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
    """One thing of the file: its name, and facts as label and text."""

    name: str
    facts: tuple[tuple[str, str], ...]


def rule(given: Rule) -> ConfigSummary:
    return ConfigSummary(given.name, tuple(_rule(given)))


def _rule(given: Rule) -> Iterator[tuple[str, str]]:
    yield "Matches", match(given.match)
    yield "Notifies on", ", ".join(NOTIFIES_ON[name] for name in given.notify_on) or "nothing"
    route = "whom the DAG names in its tags and owners" if given.route else ""
    yield "To", ", ".join([*given.to, *([route] if route else [])]) or "nobody"
    yield "Grouped", _group(given)
    if given.repeat:
        yield "Reminds", f"every {format_duration(given.repeat)}, until it is acknowledged or over"
    if given.quiet_hours:
        yield "Quiet hours", ", ".join(given.quiet_hours)
    if given.flapping:
        often = f"{given.flapping.openings} openings within {format_duration(given.flapping.within)}"
        yield "Flapping", f"after {often}: reported once"
    if given.template:
        yield "Templates", ", ".join(f"{kind}: {name}" for kind, name in given.template.items())
    if given.last:
        yield "Then", "rules below are not evaluated"


def _group(given: Rule) -> str:
    told = [f"the same {', '.join(FIELDS.get(name, name) for name in given.group.by)}"]
    if given.group.wait:
        told.append(f"gathered for {format_duration(given.group.wait)}")
    if given.group.interval is not None:
        told.append(f"at most every {format_duration(given.group.interval)}")
    return "; ".join(told)


def match(given: Match) -> str:
    """`type airflow.dag_run.*, and DAG etl or load`."""
    told = [
        f"{word} {' or '.join(map(str, getattr(given, name)))}"
        for name, word in FIELDS.items()
        if getattr(given, name) not in ((), ("*",))
    ]
    if given.any_of:
        told.append(" or ".join(f"({match(one)})" for one in given.any_of))
    told += [f"not ({match(one)})" for one in given.none_of]
    return ", and ".join(told) or EVERYTHING


def describe_silence(given: Silence | SilenceScope) -> str:
    """What a silence is of."""
    if isinstance(given, SilenceScope):
        title = given.incident.title if given.incident else None
    else:
        title = given.incident_title
    if title is None:
        words = match(given.match)
        return f"everything of {words}" if given.is_whole and words != EVERYTHING else words
    return f"incident “{title}” of Airflow {' or '.join(given.match.deployment)}"


def receiver(name: str, given: Receiver) -> ConfigSummary:
    return ConfigSummary(name, tuple(_receiver(given)))


def _receiver(given: Receiver) -> Iterator[tuple[str, str]]:
    if given.email:
        yield "Mail", ", ".join(given.email)
    if given.apprise:
        services = (urlsplit(url.get_secret_value()).scheme or "?" for url in given.apprise)
        yield "Apprise", ", ".join(services)
    if given.webhook:
        yield "Webhook", ", ".join(_host(webhook.url) for webhook in given.webhook)
    if given.timezone:
        yield "Times in", given.timezone
    if not (given.email or given.apprise or given.webhook):
        yield "Notifies", "nobody"


def _host(url: str) -> str:
    """Where a URL leads, without its path and its user: either may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or '?'}/…"


def quiet_hours(name: str, given: QuietHours, config: Config) -> ConfigSummary:
    zone = given.timezone or config.timezone
    span = f"{given.start:%H:%M} to {given.end:%H:%M} ({zone})"
    return ConfigSummary(name, (("From", span), ("Days", ", ".join(given.days))))


def watch(given: Watch) -> ConfigSummary:
    return ConfigSummary(given.name, tuple(_watch(given)))


def _watch(given: Watch) -> Iterator[tuple[str, str]]:
    yield "Reports", WATCHES[given.watch]
    named = ("deployment", "dag_id", "asset", "tags")
    of = [f"{FIELDS[name]} {' or '.join(values)}" for name in named if (values := getattr(given, name))]
    yield "Of", ", and ".join(of) or "all"
    if given.after is not None:
        yield "After", format_duration(given.after)
    elif given.watch in ("stuck", "stale"):
        yield (
            "After",
            f"{given.spreads:g} spreads above the median, and {format_duration(given.floor)} at least",
        )


def find_unnotified(
    connection: Connection, logged: Sequence[LoggedEvent], visible: AllowedDags
) -> dict[int, Decision]:
    """By their seq, those among these events that were decided about, and of which nobody was notified."""
    asked = [one for one in logged if incident_signals.concerns(one.type)]
    ids: list[str] = list(read_each("events", asked, lambda one: json.loads(one.body)["id"]))
    found = why_nobody(outbox_decisions.decisions_of_events(connection, ids, visible)) if ids else {}
    return {one.seq: found[one.seq] for one in logged if one.seq in found}


def why_nobody(decisions: Iterable[Decision]) -> dict[int, Decision]:
    """By the event's seq, the first decision about it, where none of them notified anybody."""
    first: dict[int, Decision] = {}
    notified = set()
    for one in decisions:
        first.setdefault(one.event_seq, one)
        if one.notification_id is not None:
            notified.add(one.event_seq)
    return {seq: one for seq, one in first.items() if seq not in notified}


SHOWN = 3  # banners: more say nothing that these do not


@dataclass(frozen=True)
class WholeSilence:
    """One of them, as this reader may know it."""

    airflows: str
    ends_at: datetime
    by: str | None
    """Who silenced it, and why; None: the reader does not see whose silences are of more than one DAG."""


async def load_whole_silences(request: Request, services: Services, reader: Principal) -> None:
    """Read the silences of whole Airflows for this reader's page; `get_whole_silences` returns them."""
    now = services.clock()
    found = await services.database.read(lambda connection: silences.active(connection, now))
    whole = [one for one in found if one.is_whole]
    if whole:  # hardly ever: what the reader may see is asked for then alone
        request.state.whole_silences = _build_banners(whole, await services.gate.get_permissions(reader))


def get_whole_silences(request: Request) -> Sequence[WholeSilence]:
    return getattr(request.state, "whole_silences", ())


def _build_banners(whole: Sequence[Silence], visible: AllowedDags) -> list[WholeSilence]:
    if visible is None:
        return [
            WholeSilence(_airflows(one), one.ends_at, f"{one.author}: {one.reason}") for one in whole[:SHOWN]
        ]
    known = {deployment for deployment, _ in visible}
    shown = []
    for one in whole:
        globs = one.match.deployment or ("*",)
        if names := sorted(name for name in known if matches_any(globs, name)):
            shown.append(WholeSilence(f"the Airflow {' and '.join(names)}", one.ends_at, None))
    return shown[:SHOWN]


def _airflows(one: Silence) -> str:
    globs = one.match.deployment
    return f"the Airflow {' and '.join(globs)}" if globs and "*" not in globs else "every Airflow"
