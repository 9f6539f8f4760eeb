"""The headline of a message: its state, its subject, its summary and its first facts.

Mails, chats and webhooks share these functions. The subject names the problem and says nothing of its state,
so that it stays the same for the whole conversation. The state stands in the sender's display name and in
the title of a chat message. The summary repeats the state, because address books replace display names.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo

from monitor.delivery.messages.filters import (
    BAD,
    GOOD,
    MONTHS,
    local_time,
    mark_of,
    pluralize,
    shorten,
    span,
    zone_name,
)
from monitor.delivery.messages.filters import when as format_time
from monitor.delivery.messages.model import Fact, MessageContext

LATE = "⏱"
HELD = "▲"
RETRYING = "↻"
NAME_LENGTH = 70  # characters of a DAG's, a task's or a file's name in a subject
ERROR_LENGTH = 160  # characters of an error in a summary
_LABELS = {
    "success": "Succeeded",
    "import_error": "Import failed",
    "import_error_mended": "Recovered",
    "up_for_retry": "Retrying",
    "dead": "Not delivered",
    "parked": "Waits",
}
"""The last part of an event's type, where its own words are not what people say."""
_FAILURES = ("opened", "failure", "follow_up", "reminder", "flapping")


@dataclass(frozen=True)
class MessageState:
    """The state of a problem as an inbox shows it: a sign and a few words."""

    mark: str
    label: str

    def __str__(self) -> str:
        return f"{self.mark} {self.label}".strip()


def state_of(message: MessageContext) -> MessageState:
    """Return the state for the sender's display name: `✗ Failed`, `✓ Recovered`."""
    incident = message.incident
    if message.kind == "digest":
        return MessageState("", "Digest")
    if message.kind == "recovered":
        return MessageState(GOOD, "Recovered")
    if message.kind == "flapping":
        return MessageState(BAD, "Flapping")
    if message.kind in ("follow_up", "reminder"):
        if incident and incident.acknowledged_by:
            return MessageState(HELD, "Acknowledged")
        is_failing = message.event_type.endswith((".failed", ".import_error"))
        return MessageState(LATE, "Still failing" if is_failing else "Still open")
    last = message.event_type.rpartition(".")[2]
    mark = mark_of(message.event_type)
    label = _LABELS.get(last) or last.replace("_", " ").capitalize()
    mark = RETRYING if last == "up_for_retry" else mark if mark in (BAD, GOOD) else ""
    return MessageState(mark, label + (", unconfirmed" if message.unconfirmed else ""))


def topic_of(message: MessageContext) -> str:
    """Return what the message is about, without its state: `etl · load · ValueError: no such table`."""
    return " · ".join(part for part in _topic(message) if part)


def _topic(message: MessageContext) -> Iterator[str]:
    if message.kind == "digest":
        yield "Digest"
        yield pluralize(message.count, "event") if message.events else "nothing to report"
        return
    if message.event_type == "airflow.asset.updated" and message.assets:
        yield shorten(message.assets[0].name, NAME_LENGTH)
        yield f"{message.count} updates" if message.count > 1 else "update"
        yield from (f"{metric.label} {metric.value}" for metric in message.metrics[:2])
        return
    if trouble := message.import_error:
        yield shorten(trouble.name, NAME_LENGTH)
        yield "import"
        yield trouble.error.headline
        return
    if message.watch and message.kind != "recovered":
        yield shorten(name_of(message), NAME_LENGTH)
        yield message.watch.kind
        yield message.watch.name or ""
        return
    yield from _run_topic(message)


def _run_topic(message: MessageContext) -> Iterator[str]:
    subjects = {summary.subject for summary in message.events}
    name = shorten(name_of(message), NAME_LENGTH)
    yield f"{len(subjects)} DAGs, {name} first" if len(subjects) > 1 and message.run else name
    if message.task:
        yield shorten(message.task.name, NAME_LENGTH)
        yield message.task.error.headline if message.task.error else ""
    elif groups := message.failure_groups:
        yield shorten(groups[0].task_id, NAME_LENGTH) + (
            f" ×{len(groups[0].tasks)}" if len(groups[0].tasks) > 1 else groups[0].index
        )
        yield groups[0].headline
    elif message.run and message.run.state == "success" and message.kind != "recovered":
        yield span(message.run.duration) if message.run.duration else ""
        yield from (f"{metric.label} {metric.value}" for metric in message.metrics[:2])
    elif message.run:
        yield message.run.run_id
    else:
        yield message.event_type.rpartition(".")[2].replace("_", " ")


def name_of(message: MessageContext) -> str:
    """Return the name that people know: of the DAG, the file, the asset or the incident."""
    if message.run:
        return message.run.dag_id
    if message.import_error:
        return message.import_error.name
    if message.assets:
        return message.assets[0].name
    if ".mail." in message.event_type:
        return "Mail"
    if ".airflow." in message.event_type:
        return message.deployment
    return message.subject


def summary_of(message: MessageContext, zone: tzinfo) -> str:
    """Return one line that says alone whether the problem is open: what, where, since when, how often."""
    text = _summary(message, zone)
    return f"Unconfirmed. {text}" if message.unconfirmed else text


def _summary(message: MessageContext, zone: tzinfo) -> str:
    incident, name, at = message.incident, name_of(message), brief(message.at, zone)
    if message.kind == "digest":
        bad = sum(summary.mark == BAD for summary in message.events)
        return f"Digest of {pluralize(message.count, 'event')}, {bad} of them failures or findings."
    if message.kind == "recovered":
        closed = brief(incident.closed_at, zone) if incident and incident.closed_at else at
        lasted = (
            f" after {span(incident.lasted)}, {pluralize(incident.failures, 'failure')}" if incident else ""
        )
        return f"Resolved {closed}: {name} recovered{lasted}. No action needed."
    if message.kind not in _FAILURES or mark_of(message.event_type) == GOOD:
        if message.watch:
            return f"{state_of(message).label}: {message.watch.what}"
        lasted = f", after {span(message.run.duration)}" if message.run and message.run.duration else ""
        return f"{state_of(message).label} {at}: {name}{lasted}."
    what = shorten(" ".join(_failure(message)), ERROR_LENGTH * 2)
    if incident and incident.closed_at:
        return f"Resolved {brief(incident.closed_at, zone)}: {what}"
    since = brief(_since(message), zone)
    first = "Still open" if message.kind in ("follow_up", "reminder", "flapping") else "Open"
    counted = f", {pluralize(incident.failures, 'failure')}" if incident and incident.failures > 1 else ""
    if incident and incident.acknowledged_by:
        counted += f", acknowledged by {incident.acknowledged_by}"
    elif message.kind == "reminder":
        counted += ", not acknowledged"
    return f"{first} since {since}{counted}: {what}"


def _failure(message: MessageContext) -> Iterator[str]:
    """Return the failure and its place in a few sentences."""
    if message.kind == "flapping":
        yield f"{name_of(message)} fails and recovers repeatedly. Notifications pause until it is quiet."
        return
    if message.watch:
        yield message.watch.what
        return
    if trouble := message.import_error:
        yield f"Airflow cannot import {trouble.name}: {trouble.error.headline}"
        return
    task = message.task or (message.failed[0] if message.failed else None)
    more = len(message.failed) - 1
    where = f" at {task.name}" + (f" and {more} more" if more > 0 else "") if task else ""
    error = task.error.headline if task and task.error else ""
    yield f"{name_of(message)} failed{where}" + (f": {shorten(error, ERROR_LENGTH)}" if error else ".")


def overview_of(message: MessageContext, zone: tzinfo) -> tuple[Fact, ...]:
    """Return the first facts of a problem: its kind, its place and its beginning."""
    return tuple(Fact(label, value) for label, value in _overview(message, zone) if value)


def _overview(message: MessageContext, zone: tzinfo) -> Iterator[tuple[str, str]]:
    incident = message.incident
    if message.kind == "recovered":
        yield "Was", incident.title if incident else ""
        yield "Where", _where(message)
        if incident:
            yield "From", format_time(incident.opened_at, zone)
            yield "To", format_time(incident.closed_at or message.at, zone)
            yield "Down for", f"{span(incident.lasted)}, {pluralize(incident.failures, 'failure')}"
            yield "Acknowledged", _acknowledged(message, zone)
            yield "Taken over", _assignee(message)
        else:
            yield "At", format_time(message.at, zone)
        return
    yield "What", shorten(_what(message), ERROR_LENGTH * 2)
    yield "Where", _where(message)
    if incident and incident.failures > 1:
        counted = f", {incident.failures} in {span(incident.lasted)}"
        yield "Since", format_time(_since(message), zone) + counted
    else:
        yield "Since", format_time(_since(message), zone)
    yield "Acknowledged", _acknowledged(message, zone)
    yield "Taken over", _assignee(message)


def _since(message: MessageContext) -> datetime | None:
    """Return when the problem began: a watch may find it later."""
    began = message.incident.opened_at if message.incident else message.at
    found = message.watch.since if message.watch else None
    return min(began, found) if began and found else began or found


def _assignee(message: MessageContext) -> str:
    assignee = message.incident.assignee if message.incident else None
    return f"by {assignee}" if assignee else ""


def _acknowledged(message: MessageContext, zone: tzinfo) -> str:
    incident = message.incident
    if incident is None or incident.acknowledged_by is None:
        return ""
    reason = f": {incident.acknowledged_reason}" if incident.acknowledged_reason else ""
    until = incident.acknowledged_until
    ends = f" until {format_time(until, zone)}" if until else ""
    return f"by {incident.acknowledged_by}{ends}{reason}"


def _what(message: MessageContext) -> str:
    if message.watch:
        return message.watch.what
    if message.import_error:
        return message.import_error.error.headline or "the file cannot be imported"
    if message.task:
        return (message.task.error.headline if message.task.error else "") or "No error was reported."
    if groups := message.failure_groups:
        more = len(groups) - 1
        headline = groups[0].counted_headline or "No error was reported."
        return headline + (f" (and {pluralize(more, 'other error')})" if more else "")
    if message.run:
        reason = f" ({message.run.message.replace('_', ' ')})" if message.run.message else ""
        return f"No failed task is known{reason}: the run may have timed out or been marked failed by hand."
    return ""


def _where(message: MessageContext) -> str:
    if message.import_error:
        bundle = f", bundle {message.import_error.bundle}" if message.import_error.bundle else ""
        return message.import_error.filename + bundle
    parts = [name_of(message)]
    if message.task:
        parts.append(message.task.name)
    elif groups := message.failure_groups:
        parts.append(groups[0].names + (f" and {len(groups) - 1} more" if len(groups) > 1 else ""))
    return " / ".join(parts)


def brief(moment: datetime | None, zone: tzinfo) -> str:
    """Return a moment in short: 25 Nov 08:12 CET."""
    if moment is None:
        return "–"
    local = local_time(moment, zone)
    return f"{local.day} {MONTHS[local.month - 1]} {local:%H:%M} {zone_name(local)}"
