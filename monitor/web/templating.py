"""The rendering of pages, and the filters of their templates."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from http import HTTPStatus
from itertools import islice
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_environment
from jinja2.filters import do_truncate
from markupsafe import Markup

from monitor.database.types import read_each
from monitor.delivery.messages import links
from monitor.delivery.messages.filters import finalize, shorten, span
from monitor.delivery.messages.templates import templates_folder
from monitor.event_log.read import LoggedEvent
from monitor.events.data import select_declared
from monitor.events.identity import spoken, stamp
from monitor.plain_text import cut, line
from monitor.plain_text import lines as plain_lines
from monitor.web import rule_descriptions
from monitor.web.auth.authenticator import Principal
from monitor.web.compression import mask
from monitor.web.paths import path_of, path_prefix, version_of

WORDS = {"import_error_mended": "mended"}  # where a type's last part is too long for a word
SHOWN = 200  # characters of an error or a message in a list. Its run's page has the whole


@dataclass(frozen=True)
class EventLine:
    """An event in a list."""

    seq: int
    time: str
    deployment: str
    subject: str
    kind: str
    """`dag run`, `task instance`, `asset`, …"""
    word: str
    """The state, or what happened: `failed`, `updated`, `import_error`, `mended`."""
    dag_id: str | None
    run_id: str | None
    task: str | None
    try_number: int
    detail: str

    @property
    def label(self) -> str:
        """The text below the name: which asset, which try, what was said, or else which run."""
        kind = "" if self.task else self.kind.removeprefix("dag ")
        texts = [f"try {self.try_number}" if self.try_number > 1 else "", self.detail or self.run_id or ""]
        if self.kind == "asset" and self.dag_id:
            texts.insert(0, self.subject)
        return " · ".join(part for part in (kind, *texts) if part)

    @classmethod
    def from_logged(cls, event: LoggedEvent) -> "EventLine":
        """Return the line of a logged event. Raises the errors of types.UNREADABLE."""
        return cls.read(event.seq, json.loads(event.body))

    @classmethod
    def of_each(cls, events: Iterable[LoggedEvent]) -> list["EventLine"]:
        """Return a line for each row. A row that cannot be read is left out."""
        return list(read_each("events", events, cls.from_logged))

    @classmethod
    def read(cls, seq: int, body: Mapping[str, Any]) -> "EventLine":
        """Return the line of an event in its published form (docs/events.md)."""
        data = select_declared(body["type"], body["data"])
        parts = str(body["type"]).split(".")
        return cls(
            seq=seq,
            time=body["time"],
            deployment=body["source"].removeprefix("/airflow/"),
            subject=body["subject"],
            kind=" ".join(parts[1:-1]).replace("_", " "),
            word=WORDS.get(parts[-1], parts[-1]),
            dag_id=data.get("dag_id") or data.get("source_dag_id"),
            run_id=data.get("run_id") or data.get("source_run_id"),
            task=_task(data),
            try_number=data.get("try_number", 1),
            detail=shorten(_detail(data), SHOWN),
        )


def _task(data: Mapping[str, Any]) -> str | None:
    task, index = data.get("task_id"), data.get("map_index", -1)
    return f"{task}[{index}]" if task and index >= 0 else task


def _detail(data: Mapping[str, Any]) -> str:
    """Return the detail for a list: the error, the metrics, Airflow's reason, the first line of a trace."""
    if error := data.get("error"):
        # A task's error has a type and a message. What a watch says of Airflow or of mail is a text.
        kind, message = (None, error) if isinstance(error, str) else (error.get("type"), error["message"])
        return ": ".join(part for part in (kind, " ".join(plain_lines(message or ""))) if part)
    if extra := data.get("extra"):
        return metrics(extra)
    if (message := data.get("message")) and data.get("state") == "failed":
        return str(message)  # of other states Airflow only says the state again
    if "replaced_by" in data:
        return "the file has another import error now" if data["replaced_by"] else "no import error any more"
    return next(reversed(plain_lines(str(data.get("stacktrace", "")).strip())), "")


def metrics(extra: Mapping[str, Any]) -> str:
    """Return the numbers in an asset's update as text."""
    numbers = ((name, value) for name, value in extra.items() if type(value) in (int, float))
    return " · ".join(f"{name} {number(value)}" for name, value in numbers)


MAX_NUMBER = 40  # characters: a column stays readable, and JSON has numbers of thousands of digits


def number(value: Any) -> str:
    """Return a metric for people: at most four digits behind the point."""
    shown = f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return cut(shown, MAX_NUMBER)


BRIEF_VALUES = 100  # of an asset's extra on a page. The API has them all
BRIEF_NAME = 100  # characters
BRIEF_VALUE = 500


def brief(extra: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the first values of an asset's update as texts for a page, each cut."""
    shown = [(cut(name, BRIEF_NAME), _brief(extra[name])) for name in islice(extra, BRIEF_VALUES)]
    more = len(extra) - len(shown)
    return [*shown, ("and more", f"{more} values; the API has them")] if more else shown


def _brief(value: Any) -> str:
    if type(value) in (int, float):
        return number(value)
    return cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), BRIEF_VALUE)


def asset_url(asset: Any) -> str:
    """Return the address of an asset's page, from a row or a record that names the asset.
    The URI stands in the query, because it holds slashes, `?` and `#`, which proxies change in a path."""
    fields = asset if isinstance(asset, Mapping) else vars(asset)
    return f"/assets/{quote(fields['deployment'], safe='')}?{urlencode({'uri': fields['uri']})}"


def age(value: datetime) -> Markup:
    """Return the age of a moment. The page's script counts on."""
    markup = Markup('<time class="elapsed" datetime="{}">since {}</time>')
    return markup.format(stamp(value), f"{value:%Y-%m-%d %H:%M:%S} UTC")


def numbers(extra: Mapping[str, Any] | None) -> str:
    """Return the metrics of an asset's update in a line."""
    return shorten(metrics(extra or {}), BRIEF_VALUE)


def besides(extra: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return the values that have no column of their own."""
    return {name: value for name, value in extra.items() if name not in names}


FILTERS = {function.__name__: function for function in (age, brief, numbers, besides, spoken)}

HEAD, TAIL = (
    27,
    5,
)  # characters of an id: its type with day and time, and its end: `manual__2026-11-25T04:10:00…00:00`
TEMPLATES = templates_folder() / "web"
STATIC = TEMPLATES / "static"
TAG_BYTES = 16  # of a page's digest: no two pages meet by chance
NONE = Markup('<span class="none">–</span>')


def render(
    request: Request,
    template: str,
    principal: Principal | None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    """Return a page for this reader, or for a reader without sign-in if None."""
    environment = _environment(path_prefix(request))
    context |= {
        "path": path_of(request),
        "reader": principal,
        "whole_silences": rule_descriptions.get_whole_silences(request),
        "mail_zone": rule_descriptions.get_mail_zone(request),
    }
    text = environment.get_template(template).render(context)
    # A page that keeps itself up to date asks for itself again and again: what it has is not sent twice.
    # The tag is weak: the page is the same, however its token is masked and its bytes are compressed.
    tag = f'W/"{hashlib.blake2b(text.encode(), digest_size=TAG_BYTES).hexdigest()}"'
    all_headers = {"Cache-Control": "no-store", "ETag": tag, **(headers or {})}
    if status == HTTPStatus.OK and request.headers.get("if-none-match") == tag:
        return HTMLResponse(None, HTTPStatus.NOT_MODIFIED, all_headers)
    if principal is not None and principal.csrf:
        text = text.replace(principal.csrf, mask(principal.csrf))
    return HTMLResponse(text, status, all_headers)


def render_part(prefix: str, template: str, **context: Any) -> Markup:
    """Return a part of a page that is the same for every reader."""
    return Markup(_environment(prefix).get_template(template).render(context))  # noqa: S704 (it is escaped)


def load_templates(prefix: str) -> list[str]:
    """Compile every page's template and return their names.
    Otherwise a page's first reader waits for that, and all others meanwhile: it takes up to 0.1 s of the
    event loop."""
    environment = _environment(prefix)
    names = environment.list_templates(extensions=["html"])
    for name in names:
        environment.get_template(name)
    return names


@lru_cache(maxsize=8)  # one a prefix, and a process has one of them
def _environment(prefix: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (
        moment,
        cut_middle,
        took,
        ago,
        relative,
        format_value,
        pretty,
        lines,
        number,
        query,
        truncate,
        text_lines,
    )
    environment.filters.update({function.__name__: function for function in (*filters, capitalize_first)})
    environment.globals["at"] = prefix
    environment.globals["static"] = f"{prefix}/static/{version_of(STATIC)}"
    environment.globals["run_url"] = lambda run: prefix + run_url(run)
    environment.globals["log_url"] = lambda run, **task: f"{prefix}{run_url(run, 'logs')}?{query(task)}"
    environment.globals["details_url"] = lambda run: prefix + run_url(run, "details")
    environment.globals["airflow_run_url"] = airflow_run_url
    environment.globals["airflow_task_url"] = links.airflow_task
    environment.globals["asset_url"] = lambda asset: prefix + asset_url(asset)
    environment.filters.update(FILTERS)
    environment.globals["silence_url"] = lambda incident: prefix + silence_url(incident)
    environment.globals["silenced_words"] = rule_descriptions.describe_silence
    return environment


def run_url(run: Any, what: str = "runs") -> str:
    """Return the address of a run's page, from a row or a record that names the run.
    The ids may hold any sign."""
    fields = run if isinstance(run, Mapping) else vars(run)
    return f"/{what}/" + "/".join(quote(fields[key], safe="") for key in ("deployment", "dag_id", "run_id"))


def silence_url(incident: Any) -> str:
    """Return the address of the form that silences an incident, filled in.
    Opening the form silences nothing yet."""
    fields = incident if isinstance(incident, Mapping) else vars(incident)
    return "/silences/new?" + query({"incident": fields["id"]})


def airflow_run_url(airflow: str, run: Any) -> str:
    """Return the address of a run in Airflow's own pages."""
    fields = run if isinstance(run, Mapping) else vars(run)
    return f"{airflow}/dags/{quote(fields['dag_id'], safe='')}/runs/{quote(fields['run_id'], safe='')}"


def query(values: Mapping[str, Any], **more: Any) -> str:
    """Return a query string."""
    return urlencode({**values, **more}, doseq=True)


def moment(value: datetime | str | None) -> Markup:
    """Return a moment in UTC, which the page's script turns into the reader's own time."""
    if value is None:
        return NONE
    when = datetime.fromisoformat(value.replace("Z", "+00:00")) if isinstance(value, str) else value
    return Markup('<time datetime="{}">{}</time>').format(_iso(when), f"{when:%Y-%m-%d %H:%M:%S} UTC")


def cut_middle(value: str) -> Markup:
    """Return a long id of which the style sheet shows both ends. The whole can be copied and read aloud."""
    text = line(value)
    if len(text) <= HEAD + TAIL + 1:
        return Markup("{}").format(text)
    ends = (text, text[:HEAD], text[HEAD:-TAIL], text[-TAIL:])
    return Markup('<span title="{}">{}<span class="middle">{}</span>{}</span>').format(*ends)


def took(start: datetime | None, end: datetime | None) -> Markup:
    """Return a duration. The page's script counts on what still goes on."""
    if start is None:
        return NONE
    if end is None:
        return Markup('<time class="elapsed" datetime="{}">under way</time>').format(_iso(start))
    return Markup("{}").format(span(end - start))


def ago(value: datetime) -> Markup:
    """Return how long ago a moment was. The page's script counts on."""
    markup = Markup('<time class="ago" datetime="{}">{}</time>')
    return markup.format(_iso(value), f"at {value:%Y-%m-%d %H:%M:%S} UTC")


def relative(value: datetime | str) -> Markup:
    """Return the distance of a moment from the present, which the page's script fills in."""
    when = datetime.fromisoformat(value.replace("Z", "+00:00")) if isinstance(value, str) else value
    return Markup('<time class="age" datetime="{}"></time>').format(_iso(when))


def format_value(value: datetime | timedelta | str | None) -> Markup:
    """Return a value of a mail's story as a page shows it."""
    if isinstance(value, timedelta):
        return Markup("{}").format(span(value))
    return moment(value) if isinstance(value, datetime) else Markup("{}").format(line(value or "–"))


def pretty(value: Any) -> Markup:
    """Return JSON over several lines."""
    return lines(json.dumps(value, indent=2, ensure_ascii=False))


def lines(text: str) -> Markup:
    """Return text that keeps its lines, each made safe to show."""
    return Markup("\n").join(plain_lines(text))


def text_lines(text: str) -> list[str]:
    """Return the text's lines, each made safe to show."""
    return plain_lines(text)


@pass_environment
def truncate(environment: Environment, text: str, length: int) -> str:
    """Truncate as Jinja's filter does, after the text is cleaned."""
    return do_truncate(environment, line(text), length)


def capitalize_first(text: str) -> str:
    """Return the text with a capital first letter. Other letters stay, because names have them."""
    return text[:1].upper() + text[1:]


def _iso(when: datetime) -> str:
    return when.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
