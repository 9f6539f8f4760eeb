"""A story and a template's name in, a mail out. Rendering never fails: where a user's template does, the
built-in one is used; where that does, a plain mail tells the facts. The reason is handed back, so that a typo
in a template costs its looks and not its news.
"""

import logging
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from jinja2 import TemplateNotFound

from monitor.clock import Clock
from monitor.mail_addresses import Sender
from monitor.plain_text import line
from monitor.renamed import hint
from monitor.render import links
from monitor.render.bounds import MAX_HTML, tighter
from monitor.render.chart import chart_of
from monitor.render.choice import TEMPLATES, suits, usual
from monitor.render.clean import cleaned
from monitor.render.folder import templates_folder
from monitor.render.letter import HEADER_LENGTH, REPLY, Letter, Written, message_of
from monitor.render.marks import mark_of
from monitor.render.moments import zone_of
from monitor.render.overrides import NAME, Overrides
from monitor.render.plain import plainly
from monitor.render.samples import sample
from monitor.render.story import Run, Story, Task
from monitor.render.templates import Templates
from monitor.render.words import header

SUBJECT_LENGTH = 120  # characters: inboxes show 60 to 100, and the rest is in the mail
ANYTHING = "notice"
"""The template that can tell any story."""
USERS = "your template"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rendered:
    message: EmailMessage
    subject: str
    text: str
    html: str
    problem: str | None
    """Why the template that was asked for could not be used, and what was used instead."""


@dataclass(frozen=True)
class TemplateInfo:
    name: str
    overridden: bool
    """Whether the user's folder has a file of it."""
    problem: str | None
    """Why the user's own cannot be used, as its preview shows."""


class Renderer:
    """Writes mails. `airflow_urls` is how people reach each deployment's Airflow; it may lack some.
    `overrides` is the user's folder of templates."""

    def __init__(
        self,
        sender: str,
        monitor_url: str,
        airflow_urls: Mapping[str, str],
        clock: Clock,
        folder: Path | None = None,
        overrides: Path | None = None,
    ) -> None:
        self._sender = Sender.parse(sender)
        self._monitor_url = monitor_url
        self._airflow_urls = airflow_urls
        self._clock = clock
        built_in = (folder or templates_folder()) / "email"
        self._built_in = Templates.built_in(built_in)
        self._overrides = Overrides(overrides, built_in)

    def render(self, template: str, story: Story, letter: Letter) -> Rendered:
        """Write the mail that tells this story. Raises ValueError only for an address that is none."""
        written, problem = self._written(template, cleaned(story), replace(letter, rule=line(letter.rule)))
        subject = header(letter.subject or written.subject, SUBJECT_LENGTH)
        written = replace(written, subject=REPLY + subject if letter.subject else subject)
        message = message_of(written, letter, self._sender, story.event_id, self._clock())
        return Rendered(message, written.subject, written.text, written.html, problem)

    def is_overridden(self, template: str, story: Story) -> bool:
        """Return True if the user's folder has a say in the mail that tells this story."""
        return any(whose == USERS for _, _, whose in self._candidates(template, story))

    def preview(self, template: str, hostile: bool = False) -> Rendered:
        """The template with a sample story, or with one whose every name is meant to do harm."""
        story, letter = sample(template, hostile)
        return self.render(template, story, letter)

    def templates(self) -> list[TemplateInfo]:
        """Every template, the user's own too; each that the user has a say in is tried."""
        own = self._overrides.names
        return [
            TemplateInfo(
                name, name in own, self.preview(name).problem if self._overrides.concerning(name) else None
            )
            for name in (*TEMPLATES, *sorted(own - set(TEMPLATES)))
        ]

    def _written(self, template: str, story: Story, letter: Letter) -> tuple[Written, str | None]:
        problem = None
        for name, templates, whose in self._candidates(template, story):
            try:
                return self._write(templates, name, story, letter), problem
            except Exception as error:  # a template is a program of its user's: anything may go wrong in it
                logger.exception("%s %r failed; the next best is used", whose, name)
                problem = problem or header(f"{whose} {name}: {_said(error)}", HEADER_LENGTH)
        zone, url = zone_of(letter.timezone), links.monitor(self._monitor_url, story)
        return plainly(story, zone, url, problem or "there is none"), problem

    def _candidates(self, template: str, story: Story) -> Iterator[tuple[str, Templates, str]]:
        """Which templates to try, the best first."""
        normal = usual(story.kind, story.event_type)
        name = template if NAME.fullmatch(template) and suits(template, story) else normal
        own = self._overrides.concerning(name)
        if own:
            yield name, own, USERS
        if name in TEMPLATES or not own:
            yield name, self._built_in, "the template"
        for other in dict.fromkeys((normal, ANYTHING)):
            if name != other:
                yield other, self._built_in, "the template"

    def _write(self, templates: Templates, name: str, story: Story, letter: Letter) -> Written:
        """Within what mail programs show, where it can be made so."""
        fewer = tighter(story)
        written = templates.write(name, self.values(next(fewer), letter))
        for told in fewer:
            if len(written.html.encode()) <= MAX_HTML:
                break
            written = templates.write(name, self.values(told, letter))
        return written

    def values(self, story: Story, letter: Letter) -> dict[str, Any]:
        """What a template may name (docs/mail.md)."""
        airflow = self._airflow_urls.get(story.deployment)

        def task_url(run: Run | None, task: Task) -> str | None:
            return links.airflow_task(airflow, run, task) if airflow and run else None

        def run_url(run: Run | None) -> str | None:
            known = run is not None and self._airflow_urls.get(run.deployment)
            return links.airflow_run(known, run) if known and run else None

        incident = story.incident
        to_acknowledge = (
            incident is not None and incident.closed_at is None and incident.acknowledged_by is None
        )
        return {
            "message": story,
            "run": story.run,
            "incident": incident,
            "chart": chart_of(story.history),
            "mark": mark_of(story.event_type),
            "deployment": story.deployment,
            # With one Airflow, its name says nothing.
            "deployment_prefix": f"[{story.deployment}] "
            if set(self._airflow_urls) != {story.deployment}
            else "",
            "rule": letter.rule,
            "is_reply": letter.subject is not None,
            "zone": zone_of(letter.timezone),
            "airflow_url": links.airflow(airflow, story) if airflow else None,
            "windsock_url": links.monitor(self._monitor_url, story),
            "task_url": task_url,
            "run_url": run_url,
            "silence_url": letter.silence_url,
            "silence_label": letter.silence_label,
            "acknowledge_url": letter.acknowledge_url if to_acknowledge else None,
            "unsubscribe_url": letter.unsubscribe_url,
        }


def _said(error: Exception) -> str:
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
