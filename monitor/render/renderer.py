"""A story and a template's name in, a mail out. Rendering never fails: where a template does, a plain mail
tells the facts and the reason is handed back, so that a typo in a template costs its looks and not its news.

A template is two files, `<name>.txt.j2` and `<name>.html.j2`; the text one has a block `subject`.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import escape

from monitor.clock import Clock
from monitor.render import links
from monitor.render.folder import templates_folder
from monitor.render.story import Story, Task
from monitor.render.words import FILTERS, finalize, header, line, span, when

SUBJECT_LENGTH = 150  # characters: inboxes show 60 to 100, and the rest is in the mail
HEADER_LENGTH = 250
MARKS = {"failed": "✗", "success": "✓"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Letter:
    """What is fixed about a mail before it is written."""

    message_id: str
    recipients: tuple[str, ...]
    rule: str


@dataclass(frozen=True)
class Rendered:
    message: EmailMessage
    subject: str
    problem: str | None
    """Why the template could not be used and a plain mail was written instead."""


class Renderer:
    """Writes mails. `airflow_urls` is how people reach each deployment's Airflow; it may lack some."""

    def __init__(
        self,
        sender: str,
        monitor_url: str,
        airflow_urls: Mapping[str, str],
        clock: Clock,
        folder: Path | None = None,
    ) -> None:
        self._sender = sender
        self._monitor_url = monitor_url
        self._airflow_urls = airflow_urls
        self._clock = clock
        self._templates = _environment((folder or templates_folder()) / "email")

    def render(self, template: str, story: Story, letter: Letter) -> Rendered:
        """Write the mail that tells this story. Raises ValueError only for an address that is none."""
        problem = None
        try:
            subject, text, html = self._from_templates(template, story, letter)
        except Exception as error:  # a template is a program of its user's: anything may go wrong in it
            logger.exception("the template %r failed; a plain mail is sent instead", template)
            problem = header(f"template {template}: {type(error).__name__}: {error}", HEADER_LENGTH)
            subject, text, html = self._plainly(story, problem)
        subject = header(subject, SUBJECT_LENGTH)
        return Rendered(self._message(subject, text, html, story, letter), subject, problem)

    def _from_templates(self, name: str, story: Story, letter: Letter) -> tuple[str, str, str]:
        text = self._templates.get_template(f"{name}.txt.j2")
        html = self._templates.get_template(f"{name}.html.j2")
        values = self._values(story, letter)
        subject = "".join(text.blocks["subject"](text.new_context(values)))
        return subject, text.render(values), html.render({**values, "subject": subject.strip()})

    def _values(self, story: Story, letter: Letter) -> dict[str, Any]:
        run, airflow = story.run, self._airflow_urls.get(story.run.deployment)

        def task_url(task: Task) -> str | None:
            return links.airflow_task(airflow, run, task) if airflow else None

        return {
            "story": story,
            "run": run,
            "rule": letter.rule,
            "airflow_url": links.airflow_run(airflow, run) if airflow else None,
            "windsock_url": links.monitor_run(self._monitor_url, run),
            "task_url": task_url,
        }

    def _plainly(self, story: Story, problem: str) -> tuple[str, str, str]:
        run = story.run
        subject = f"[{run.deployment}] {MARKS.get(run.state, '·')} {run.dag_id}: {run.state}"
        facts = [
            f"DAG {run.dag_id}: {run.state}" + (" (unconfirmed)" if story.unconfirmed else ""),
            f"Run {run.run_id} of {run.deployment}",
            f"Began {when(run.start or run.queued_at)}, ended {when(run.end)}, took {span(run.duration)}",
            *(f"Task {t.name} failed: {t.error.headline if t.error else ''}" for t in story.failed),
            links.monitor_run(self._monitor_url, run),
            f"This mail is plain because its template failed: {problem}",
        ]
        text = "\n".join(map(line, facts)) + "\n"
        return subject, text, f"<!DOCTYPE html><html><body><pre>{escape(text)}</pre></body></html>"

    def _message(self, subject: str, text: str, html: str, story: Story, letter: Letter) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = subject
        message["From"] = f"Windsock <{self._sender}>"
        message["To"] = ", ".join(letter.recipients)
        message["Date"] = format_datetime(self._clock())
        message["Message-ID"] = letter.message_id
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers, no loops
        message["X-Auto-Response-Suppress"] = "All"  # the same, for Exchange
        message["X-Windsock-Event"] = header(story.event_id, HEADER_LENGTH)
        message.set_content(text)
        message.add_alternative(html, subtype="html")
        return message


def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=select_autoescape(disabled_extensions=("txt.j2",), default=True),
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(FILTERS)
    return environment
