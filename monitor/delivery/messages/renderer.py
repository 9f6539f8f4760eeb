"""The renderer of messages, and the choice of their templates.

`choose` names the template, and `Renderer` makes a mail of a `MessageContext` by that template.

Rendering never fails. If a user's template fails, the built-in template is used. If the built-in template
fails too, `plainly` writes a plain mail with the facts. The reason is handed back, so that a typo in a
template costs the mail's looks and not its content.

The subject is the block `subject` of the text template, and names the problem without its state.
A later mail has the subject of the first mail of its thread instead (`Envelope.subject`).
"""

import logging
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from jinja2 import TemplateNotFound
from markupsafe import escape

from monitor.clock import Clock
from monitor.delivery.messages import links
from monitor.delivery.messages.filters import (
    clean_record,
    format_value,
    header,
    mark_of,
    shorten,
    span,
    when,
    zone_of,
)
from monitor.delivery.messages.headline import overview_of, state_of, summary_of, topic_of
from monitor.delivery.messages.mime import HEADER_LENGTH, Envelope, MessageText, message_of
from monitor.delivery.messages.model import Error, MessageContext, RunInfo, TaskInfo, chart_of
from monitor.delivery.messages.samples import sample
from monitor.delivery.messages.templates import NAME, Overrides, Templates, templates_folder
from monitor.mail_addresses import SenderAddress
from monitor.notifications.outbox.records import TEMPLATES
from monitor.plain_text import line
from monitor.renamed import hint
from monitor.rules.model import Rule

_BY_KIND = {
    "follow_up": "run_failed_again",
    "reminder": "run_failed_again",
    "recovered": "recovered",
    "flapping": "flapping",
    "digest": "digest",
}
_BY_TYPE = {
    "airflow.dag_run.failed": "run_failed",
    "airflow.dag_run.success": "run_success",
    "airflow.task_instance.failed": "task_failed",
    "airflow.dag.import_error": "import_error",
    "airflow.asset.updated": "asset_updated",
}
_NEEDED = {
    "run_failed": "run",
    "run_success": "run",
    "task_failed": "task",
    "import_error": "import_error",
    "asset_updated": "assets",
    "watch": "watch",
}
"""The part of a story without which the built-in template has nothing to show."""
_WATCHES = (
    *("windsock.run.", "windsock.dag.", "windsock.asset.", "windsock.airflow.", "windsock.mail."),
    "airflow.component.",
)


def choose(rule: Rule, kind: str, event_type: str) -> str:
    """Return the template's name: the rule's own for this kind, else the usual one.

    `kind` is a NotificationKind, or its name."""
    templates: Mapping[str, str] = rule.template
    return templates.get(kind) or templates.get("default") or usual(kind, event_type)


def usual(kind: str, event_type: str) -> str:
    """Return the template that is used if a rule names none."""
    return _BY_KIND.get(kind) or _BY_TYPE.get(event_type) or _choose_fallback(event_type)


def suits(template: str, message_context: MessageContext) -> bool:
    """Return True if the story has what the template shows.

    A grouped mail may be led by an event of another type than when its template was chosen.
    """
    needed = _NEEDED.get(template)
    return needed is None or bool(getattr(message_context, needed))


def _choose_fallback(event_type: str) -> str:
    return "watch" if event_type.startswith(_WATCHES) else "notice"


SHOWN = 30  # happenings, facts and tasks
PAGE = (
    '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Windsock</title></head>'
    '<body><pre style="white-space:pre-wrap;">{text}</pre></body></html>'
)
LENGTH = 1_000  # characters of a line: the facts are bounded, and this holds where one is not


def plainly(message_context: MessageContext, zone: tzinfo, url: str, problem: str) -> MessageText:
    """Return the plain message that is sent if the template failed."""
    facts = [summary_of(message_context, zone), ""]
    facts += [shorten(fact, LENGTH) for fact in _facts(message_context, zone)]
    facts += ["", url, "", line(f"This mail is plain because its template failed: {problem}")]
    text = "\n".join(facts) + "\n"
    return MessageText(topic_of(message_context), text, PAGE.format(text=escape(text)))


def _facts(message_context: MessageContext, zone: tzinfo) -> Iterator[str]:
    yield f"{message_context.event_type} of {message_context.subject}" + (
        " (unconfirmed)" if message_context.unconfirmed else ""
    )
    yield f"Deployment {message_context.deployment}, {when(message_context.at, zone)}"
    if message_context.watch:
        yield message_context.watch.what
    if run := message_context.run:
        yield f"DAG {run.dag_id}: {run.state}"
        yield f"Run {run.run_id}"
        began = when(run.start or run.queued_at, zone)
        yield f"Began {began}, ended {when(run.end, zone)}, took {span(run.duration)}"
    failed = message_context.failed or ((message_context.task,) if message_context.task else ())
    for task in failed[:SHOWN]:
        yield f"Task {task.name} {task.state}: {task.error.headline if task.error else ''}"
    if trouble := message_context.import_error:
        yield f"File {trouble.filename}: {trouble.error.headline}"
    if since := message_context.incident:
        yield f"{since.title}, since {when(since.opened_at, zone)}, failures: {since.failures}"
    for fact in message_context.facts[:SHOWN]:
        yield f"{fact.label}: {format_value(fact.value, zone)}"
    for summary in message_context.events[-SHOWN:]:
        yield f"{summary.mark} {when(summary.at, zone)} {summary.subject}: {summary.what}"


MAX_HTML = 100_000  # bytes. Gmail clips a mail behind about 102 kB
STEPS = ((20, 5, 60, 300), (10, 3, 40, 200), (5, 2, 20, 120), (2, 1, 8, 60))
"""Lines of an error, tasks whose error is shown, happenings, characters of a line: each time fewer."""


def tighter(message_context: MessageContext) -> Iterator[MessageContext]:
    """Yield the context, and then contexts with less and less of what is long."""
    yield message_context
    for lines, tasks, events, length in STEPS:
        left_out = max(0, len(message_context.events) - events)
        trouble = message_context.import_error
        yield replace(
            message_context,
            task=_task(message_context.task, lines, length) if message_context.task else None,
            failed=tuple(
                _task(task, lines if number < tasks else 0, length)
                for number, task in enumerate(message_context.failed)
            ),
            events=message_context.events[left_out:],
            earlier=message_context.earlier + left_out,
            import_error=replace(trouble, error=_error(trouble.error, lines, length)) if trouble else None,
            changes=message_context.changes[: events // 4],
            unlisted_changes=message_context.unlisted_changes
            + max(0, len(message_context.changes) - events // 4),
            assets=tuple(
                replace(asset, details=asset.details[:lines]) for asset in message_context.assets[:events]
            ),
        )


def _task(task: TaskInfo, lines: int, length: int) -> TaskInfo:
    return replace(task, error=_error(task.error, lines, length)) if task.error else task


def _error(error: Error, lines: int, length: int) -> Error:
    last_lines = error.lines[-lines:] if lines else ()
    return replace(
        error, message=error.message[: length * 2], lines=tuple(line[:length] for line in last_lines)
    )


MARKS = "✗✓· "  # with which the subject of a user's template may begin
SUBJECT_LENGTH = 120  # characters: inboxes show 60 to 100, and the rest is in the mail
ANYTHING = "notice"
"""The template that suits every kind of notification."""
USERS = "your template"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RenderedMessage:
    """A message, rendered for every channel."""

    message: EmailMessage
    subject: str
    """Stable in a conversation, without the state."""
    title: str
    """The state and the subject, for chats and pagers, which show no sender."""
    text: str
    html: str
    problem: str | None
    """The reason if the named template could not be used, and the template that was used instead."""


@dataclass(frozen=True)
class TemplateInfo:
    """A template in the list of templates."""

    name: str
    overridden: bool
    """True if the user's folder has a file of it."""
    problem: str | None
    """The reason if the user's own cannot be used, as its preview shows."""


class Renderer:
    """The renderer of messages.

    - `airflow_urls`: the address of each deployment's Airflow for people, if there is one.
    - `overrides`: the folder of the user's templates.
    """

    def __init__(
        self,
        sender: str,
        monitor_url: str,
        airflow_urls: Mapping[str, str],
        clock: Clock,
        folder: Path | None = None,
        overrides: Path | None = None,
    ) -> None:
        self._sender = SenderAddress.parse(sender)
        self._monitor_url = monitor_url
        self._airflow_urls = airflow_urls
        self._clock = clock
        built_in = (folder or templates_folder()) / "email"
        self._built_in = Templates.built_in(built_in)
        self._overrides = Overrides(overrides, built_in)

    def render(self, template: str, message_context: MessageContext, envelope: Envelope) -> RenderedMessage:
        """Write the mail of this context. Raises ValueError only for an address that is none."""
        text, problem = self._render_with_fallback(
            template, clean_record(message_context), replace(envelope, rule=line(envelope.rule))
        )
        subject = header(envelope.subject or text.subject, SUBJECT_LENGTH)
        text = replace(text, subject=subject)
        state = str(state_of(message_context))
        message = message_of(text, envelope, self._sender, message_context.event_id, self._clock(), state)
        title = f"{state} · {subject.lstrip(MARKS)}"
        return RenderedMessage(message, subject, title, text.text, text.html, problem)

    def is_overridden(self, template: str, message_context: MessageContext) -> bool:
        """Return True if the user's folder takes part in the mail of this context."""
        return any(whose == USERS for _, _, whose in self._candidates(template, message_context))

    def preview(self, template: str, hostile: bool = False) -> RenderedMessage:
        """Render the template with sample data, or with data whose every name is meant to do harm."""
        message_context, envelope = sample(template, hostile)
        return self.render(template, message_context, envelope)

    def templates(self) -> list[TemplateInfo]:
        """Return every template, the user's own too. Each that the user overrides is tried."""
        own = self._overrides.names
        return [
            TemplateInfo(
                name, name in own, self.preview(name).problem if self._overrides.concerning(name) else None
            )
            for name in (*TEMPLATES, *sorted(own - set(TEMPLATES)))
        ]

    def _render_with_fallback(
        self, template: str, message_context: MessageContext, envelope: Envelope
    ) -> tuple[MessageText, str | None]:
        problem = None
        for name, templates, whose in self._candidates(template, message_context):
            try:
                return self._write(templates, name, message_context, envelope), problem
            except Exception as error:  # a template is a program of its user's: anything may go wrong in it
                logger.exception("%s %r failed; the next best is used", whose, name)
                problem = problem or header(f"{whose} {name}: {_describe_error(error)}", HEADER_LENGTH)
        zone, url = zone_of(envelope.timezone), links.monitor(self._monitor_url, message_context)
        return plainly(message_context, zone, url, problem or "there is none"), problem

    def _candidates(
        self, template: str, message_context: MessageContext
    ) -> Iterator[tuple[str, Templates, str]]:
        """Yield the templates to try, the best first."""
        normal = usual(message_context.kind, message_context.event_type)
        name = template if NAME.fullmatch(template) and suits(template, message_context) else normal
        own = self._overrides.concerning(name)
        if own:
            yield name, own, USERS
        if name in TEMPLATES or not own:
            yield name, self._built_in, "the template"
        for other in dict.fromkeys((normal, ANYTHING)):
            if name != other:
                yield other, self._built_in, "the template"

    def _write(
        self, templates: Templates, name: str, message_context: MessageContext, envelope: Envelope
    ) -> MessageText:
        """Write the message, within what mail programs show if that is possible."""
        fewer = tighter(message_context)
        text = templates.write(name, self.values(next(fewer), envelope))
        for shorter in fewer:
            if len(text.html.encode()) <= MAX_HTML:
                break
            text = templates.write(name, self.values(shorter, envelope))
        return text

    def values(self, message_context: MessageContext, envelope: Envelope) -> dict[str, Any]:
        """Return the values that a template may name (docs/mail.md)."""
        airflow = self._airflow_urls.get(message_context.deployment)

        def task_url(run: RunInfo | None, task: TaskInfo) -> str | None:
            return links.airflow_task(airflow, run, task) if airflow and run else None

        def run_url(run: RunInfo | None) -> str | None:
            base = run is not None and self._airflow_urls.get(run.deployment)
            return links.airflow_run(base, run) if base and run else None

        incident = message_context.incident
        failed = message_context.task or next(iter(message_context.failed), None)
        to_acknowledge = (
            incident is not None and incident.closed_at is None and incident.acknowledged_by is None
        )
        return {
            "message": message_context,
            "run": message_context.run,
            "incident": incident,
            "chart": chart_of(message_context.history),
            "mark": mark_of(message_context.event_type),
            "deployment": message_context.deployment,
            # With one Airflow, its name says nothing.
            "deployment_prefix": f"[{message_context.deployment}] "
            if set(self._airflow_urls) != {message_context.deployment}
            else "",
            "topic": topic_of(message_context),
            "state": str(state_of(message_context)),
            "summary": summary_of(message_context, zone_of(envelope.timezone)),
            "overview": overview_of(message_context, zone_of(envelope.timezone)),
            "rule": envelope.rule,
            "is_reply": envelope.subject is not None,
            "zone": zone_of(envelope.timezone),
            "airflow_url": links.airflow(airflow, message_context) if airflow else None,
            "windsock_url": links.monitor(self._monitor_url, message_context),
            "log_url": task_url(message_context.run, failed) if failed else None,
            "task_url": task_url,
            "run_url": run_url,
            "silence_url": envelope.silence_url,
            "silence_label": envelope.silence_label,
            "acknowledge_url": envelope.acknowledge_url if to_acknowledge else None,
            "unsubscribe_url": envelope.unsubscribe_url,
        }


def _describe_error(error: Exception) -> str:
    if isinstance(error, TemplateNotFound):
        return f"there is no file {error.name}"
    where = getattr(error, "lineno", None) or _line_in_template(error)
    return f"{type(error).__name__}: {error}{hint(str(error))}" + (f" (line {where})" if where else "")


def _line_in_template(error: Exception) -> int | None:
    """Return the innermost line of a template that the error came from: Jinja puts it into the traceback."""
    lines = [
        line_number
        for frame, line_number in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename.endswith(".j2")
    ]
    return lines[-1] if lines else None
