"""The mails: what they say, that they are valid, and that no name or error text gets out of its place."""

import os
import re
import tracemalloc
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from monitor.delivery.messages.filters import (
    WIDTH,
    clean_record,
    columns,
    fit,
    iso,
    nth,
    pluralize,
    span,
    when,
    zone_of,
)
from monitor.delivery.messages.mime import Envelope, list_id
from monitor.delivery.messages.model import (
    AssetInfo,
    Error,
    EventSummary,
    Fact,
    IncidentInfo,
    MessageContext,
    Metric,
    PastRun,
    RunDifference,
    RunInfo,
    TaskInfo,
)
from monitor.delivery.messages.renderer import MAX_HTML, SUBJECT_LENGTH, Renderer, choose, usual
from monitor.delivery.messages.samples import inject_harm, sample
from monitor.delivery.messages.sandbox import MAX_BODIES, MAX_NODES, METHODS, metered
from monitor.delivery.messages.templates import FILTERS, MAX_FILE, Templates, templates_folder
from monitor.notifications.outbox.records import TEMPLATES
from monitor.rules.model import Rule
from tests.unit.conftest import NOW, FakeClock

REPOSITORY = Path(__file__).parents[4]
TO = "ops@example.com"
MESSAGE_ID = f"<windsock.{'d' * 100}.123456.{'0' * 32}@example.com>"
LETTER = Envelope(MESSAGE_ID, TO, "failures")
HOSTILE = (
    "x\r\nBcc: evil@example.com",
    "x\nSubject: other\n\nbody",
    "x\u2028Bcc: evil@example.com",
    "\x1b[2Jx\x00\x07",
    "<script>alert(1)</script>",
    "\u202egnp.exe",
    "größe ✗ 模型 🚀",
    "\ud800 lone",
    "{{ 7 * 7 }}{% raw %}",
    "x" * 250,
    "&" * 250,
    "模" * 250,
    " ",
)
HEADERS = {
    "Subject",
    "From",
    "To",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "List-Id",
    "X-Windsock-Event",
    "MIME-Version",
    "Content-Type",
}


@cache
def renderer(folder: Path | None = None, overrides: Path | None = None) -> Renderer:
    airflows = {"local": "http://airflow:8080"}
    return Renderer("windsock@example.com", "http://monitor:8090", airflows, FakeClock(), folder, overrides)


def a_run(state: str = "failed", **changes: Any) -> RunInfo:
    start = datetime(2026, 11, 22, 10, 0, 1, tzinfo=timezone.utc)
    values: dict[str, Any] = {
        "deployment": "local",
        "dag_id": "etl",
        "run_id": "manual__2026-11-22T10:00:00+00:00",
        "state": state,
        "run_type": "manual",
        "start": start,
        "end": start + timedelta(seconds=6.5),
    }
    return RunInfo(**{**values, **changes})


def a_task(task_id: str = "load", map_index: int = -1, **changes: Any) -> TaskInfo:
    run = a_run()
    values: dict[str, Any] = {
        "state": "failed",
        "try_number": 2,
        "max_tries": 1,
        "host": "worker-1",
        "start": run.start,
        "end": run.end,
        "error": Error("ValueError", "no such table: <b>größe</b>", ("  raise ValueError",), "Traceback"),
    }
    return TaskInfo(task_id, map_index, **{**values, **changes})


def a_story(run: RunInfo, **parts: Any) -> MessageContext:
    values: dict[str, Any] = {
        "event_id": "run:0123:failed",
        "event_type": f"airflow.dag_run.{run.state}",
        "deployment": run.deployment,
        "subject": f"{run.dag_id}/{run.run_id}",
        "at": run.end,
        "run": run,
        "kind": "opened" if run.state == "failed" else "success",
    }
    return MessageContext(**{**values, **parts})


def since(**changes: Any) -> IncidentInfo:
    values: dict[str, Any] = {"failures": 1, "opened_at": NOW, "last_at": NOW}
    return IncidentInfo(7, "etl fails", **{**values, **changes})


def a_happening(number: int = 0, **changes: Any) -> EventSummary:
    run = a_run(run_id=f"scheduled__{number}")
    values: dict[str, Any] = {"subject": "etl", "what": "failed at load: ValueError: boom", "mark": "✗"}
    at = NOW + timedelta(minutes=number)
    return EventSummary(
        f"run:{number}:failed", "airflow.dag_run.failed", at, run=run, **{**values, **changes}
    )


def history(signs: str) -> tuple[PastRun, ...]:
    last = len(signs) - 1
    return tuple(
        PastRun(f"run_{n}", "success" if s == "✓" else "failed", NOW, timedelta(seconds=n + 1), n == last)
        for n, s in enumerate(signs)
    )


def sent(message: EmailMessage) -> EmailMessage:
    """The message as its receiver's program reads it."""
    read = message_from_bytes(message.as_bytes(policy=policy.SMTP), policy=policy.default)
    assert isinstance(read, EmailMessage)
    return read


def body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    assert part.get_content_charset() == "utf-8"
    return str(part.get_content()).replace("\r\n", "\n")


class Text(HTMLParser):
    """A page's elements and text, read as a browser would."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data.replace("\N{NO-BREAK SPACE}", " ")


def test_a_failure_says_what_where_why_and_since_when() -> None:
    rendered = renderer().render("run_failed", a_story(a_run(), failed=(a_task("load", 3),)), LETTER)
    assert rendered.problem is None
    assert rendered.subject == "etl · load[3] · ValueError: no such table: <b>größe</b>"
    message = sent(rendered.message)
    assert message["Subject"] == rendered.subject
    run_url = "http://airflow:8080/dags/etl/runs/manual__2026-11-22T10%3A00%3A00%2B00%3A00"
    links = (
        run_url,
        f"{run_url}/tasks/load/mapped/3?try_number=2",
        "http://monitor:8090/runs/local/etl/manual__2026-11-22T10%3A00%3A00%2B00%3A00",
    )
    text, page = body(message, "plain"), Text(body(message, "html"))
    for fact in (
        "load[3]",
        "try 2 of 2",
        "worker-1",
        "ValueError: no such table: <b>größe</b>",
        "  raise ValueError",
        "22 Nov 2026, 10:00:07 UTC",
        "6.5 s",
        "manual__2026-11-22T10:00:00+00:00",
    ):
        assert fact in text
        assert fact in page.text
    for link in links:
        assert link in text
        assert link in page.links
    assert "b" not in [element for element in page.elements if element == "script"]


def test_every_failed_task_is_told_and_what_is_too_much_is_counted() -> None:
    tasks = tuple(a_task(f"task_{number:02}") for number in range(30))
    rendered = renderer().render("run_failed", a_story(a_run(), failed=tasks), LETTER)
    assert rendered.subject.startswith("etl · task_00 · ValueError: ")
    for kind in ("plain", "html"):
        told = body(rendered.message, kind)
        assert all(f"task_{number:02}" in told for number in range(25))
        assert "task_25" not in told
        assert "and 5 more" in told


def test_an_unconfirmed_mail_says_so_first() -> None:
    story = a_story(a_run(), failed=(a_task(),), unconfirmed="no answer from Airflow")
    rendered = renderer().render("run_failed", story, LETTER)
    assert rendered.title.startswith("✗ Failed, unconfirmed · etl · ")
    assert rendered.text.startswith("Unconfirmed. Open since ")
    for kind in ("plain", "html"):
        assert "unconfirmed" in body(rendered.message, kind).lower()
        assert "no answer from Airflow" in body(rendered.message, kind)


@pytest.mark.parametrize(
    ("failed", "said"),
    [((), "No failed task is known"), ((a_task(error=None),), "No error was reported")],
)
def test_what_is_not_known_is_said(failed: tuple[TaskInfo, ...], said: str) -> None:
    rendered = renderer().render("run_failed", a_story(a_run(), failed=failed), LETTER)
    assert rendered.problem is None
    assert all(said in " ".join(body(rendered.message, kind).split()) for kind in ("plain", "html"))


def test_a_log_without_an_error_is_shown() -> None:
    task = a_task(error=Error(None, "", ("killed by the kernel",), "Log"))
    rendered = renderer().render("run_failed", a_story(a_run(), failed=(task,)), LETTER)
    assert rendered.subject == "etl · load"
    for kind in ("plain", "html"):
        assert "No error was reported" in body(rendered.message, kind)
        assert "killed by the kernel" in body(rendered.message, kind)


def test_a_success_says_how_long_and_how_good() -> None:
    story = a_story(
        a_run("success", dag_id="Airflow_Lab2"),
        tasks=(a_task("build_model", state="success", error=None),),
        metrics=(
            Metric("Accuracy", "0.9825", "+0.0043"),
            Metric("ROC AUC", "0.9954"),
            Metric("F1", "0.9861"),
        ),
        assets=(AssetInfo("model.pkl", "file:///m.pkl", (Fact("rows", "569"),), ("release / asset_1",)),),
    )
    rendered = renderer().render("run_success", story, LETTER)
    assert rendered.problem is None
    assert rendered.subject == "Airflow_Lab2 · 6.5 s · Accuracy 0.9825 · ROC AUC 0.9954"
    for fact in (
        "build_model",
        "0.9861",
        "+0.0043",
        "model.pkl",
        "file:///m.pkl",
        "569",
        "release / asset_1",
        "6.5 s",
    ):
        assert fact in body(rendered.message, "plain")
        assert fact in Text(body(rendered.message, "html")).text


def test_the_headers_are_those_of_a_machine_and_the_message_id_is_the_deliverys() -> None:
    message = sent(renderer().render("run_failed", a_story(a_run()), LETTER).message)
    assert set(message.keys()) == HEADERS
    assert message["Message-ID"] == MESSAGE_ID
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["From"] == "✗ Failed · Windsock <windsock@example.com>"
    assert [address.addr_spec for address in message["To"].addresses] == [TO]
    assert message["Date"].datetime == NOW
    assert message["X-Windsock-Event"] == "run:0123:failed"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


def check_safe(template: str, text: str) -> None:
    story, letter = sample(template)
    letter = replace(letter, rule=text)
    rendered = renderer().render(template, inject_harm(story, [text]), letter)
    assert rendered.problem is None
    message = sent(rendered.message)
    expected = HEADERS | {"List-Unsubscribe", "List-Unsubscribe-Post"}
    expected |= {"References", "In-Reply-To"} if letter.references else set()
    assert sorted(message.keys()) == sorted(expected)
    assert [address.addr_spec for address in message["To"].addresses] == [letter.recipient]
    assert len(rendered.subject) <= SUBJECT_LENGTH
    assert "".join(str(message["Subject"]).split()) == "".join(rendered.subject.split())
    told, page = body(message, "plain"), Text(body(message, "html"))
    assert told == rendered.text
    assert not set(told) & {chr(code) for code in (*range(10), *range(11, 32), 127, 0x202E, 0x2028)}
    assert all(columns(line) <= WIDTH or "://" in line for line in told.split("\n"))
    assert not {"script", "img"} & set(page.elements)
    assert all(link.startswith(("http://", "https://")) for link in page.links)
    assert len(rendered.html.encode()) <= MAX_HTML, "Gmail cuts a mail off here"


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_no_text_leaves_its_place(text: str, template: str) -> None:
    check_safe(template, text)


@hypothesis_settings(deadline=None, max_examples=200)
@given(text=st.text(st.characters(), max_size=200), template=st.sampled_from(TEMPLATES))
def test_no_text_at_all_leaves_its_place(text: str, template: str) -> None:
    check_safe(template, text)


def test_a_mail_that_is_too_long_for_gmail_tells_less() -> None:
    lines = tuple(f"{number} " + "<&>" * 99 for number in range(20))
    tasks = tuple(a_task(f"task_{n}", error=Error("E", "&" * 600, lines, "Log")) for n in range(200))
    story = a_story(
        a_run(),
        failed=tasks,
        changes=tuple(RunDifference(f"conf.{n}", "&" * 80, "<" * 80) for n in range(12)),
        events=tuple(a_happening(n, what="<" * 240) for n in range(60)),
    )
    rendered = renderer().render("run_failed", story, LETTER)
    assert rendered.problem is None
    assert len(rendered.html.encode()) <= MAX_HTML
    for kind in ("plain", "html"):
        assert "task_0" in body(rendered.message, kind)
        assert "19 " in body(rendered.message, kind), "the end of the log says most"


BROKEN = {
    "undefined": "{% block subject %}{{ run.nothing }}{% endblock %}",
    "no subject": "no subject",
    "syntax": "{% if %}",
    "error": "{% block subject %}x{% endblock %}{{ 1 / 0 }}",
    "unsafe": "{% block subject %}x{% endblock %}{{ ''.__class__.__mro__ }}",
}


@pytest.mark.parametrize("template", [*BROKEN.values(), None], ids=[*BROKEN, "missing"])
def test_a_broken_template_costs_its_looks_and_not_its_news(tmp_path: Path, template: str | None) -> None:
    email = tmp_path / "email"
    email.mkdir()
    if template is not None:
        (email / "run_failed.txt.j2").write_text(template)
        (email / "run_failed.html.j2").write_text("{{ 1 / 0 }}")
    story = a_story(a_run(), failed=(a_task(),), unconfirmed="why")
    rendered = renderer(tmp_path).render("run_failed", story, LETTER)
    assert rendered.problem is not None
    assert "template run_failed" in rendered.problem
    assert rendered.subject.startswith("etl · load · ValueError")
    for kind in ("plain", "html"):
        told = body(sent(rendered.message), kind)
        for fact in ("etl", "manual__2026", "load", "ValueError", "unconfirmed", "template run_failed"):
            assert fact in told
    assert "<b>" not in body(rendered.message, "html")


@pytest.mark.parametrize("template", BROKEN.values(), ids=BROKEN)
def test_a_broken_template_of_the_users_falls_back_to_the_built_in_one_and_says_so(
    tmp_path: Path, template: str
) -> None:
    (tmp_path / "run_failed.txt.j2").write_text(template)
    own, built_in = renderer(overrides=tmp_path), renderer()
    story = a_story(a_run(), failed=(a_task(),))
    rendered = own.render("run_failed", story, LETTER)
    assert rendered.problem is not None
    assert rendered.problem.startswith("your template run_failed: ")
    assert rendered.text == built_in.render("run_failed", story, LETTER).text
    told = {info.name: info for info in own.templates()}
    assert told["run_failed"].overridden
    assert told["run_failed"].problem == rendered.problem
    assert (told["recovered"].overridden, told["recovered"].problem) == (False, None)
    (tmp_path / "run_failed.txt.j2").write_text("{% block subject %}mended{% endblock %}mended\n")
    assert own.render("run_failed", story, LETTER).subject == "mended"


@pytest.mark.parametrize(
    "template",
    [
        "{#" + "x" * MAX_FILE + "#}",
        "{% block subject %}x{% endblock %}{% for a in range(999) %}{{ 'x' * 999 }}{% endfor %}",
        "{% block subject %}{% for a in range(999) %}{{ 'x' * 999 }}{% endfor %}{% endblock %}",
    ],
    ids=["a file", "a text", "a subject"],
)
def test_a_template_of_the_users_is_bounded(tmp_path: Path, template: str) -> None:
    (tmp_path / "run_failed.txt.j2").write_text(template)
    rendered = renderer(overrides=tmp_path).render("run_failed", a_story(a_run()), LETTER)
    assert rendered.problem is not None
    assert "TooLongTemplate" in rendered.problem
    assert rendered.subject == renderer().render("run_failed", a_story(a_run()), LETTER).subject


SECRET_FILE = "WINDSOCK_SMTP_PASSWORD=hunter2\n"


@pytest.mark.parametrize(
    "name",
    ["out.txt.j2", ".env", "hidden.txt.j2", "sub/steal.txt.j2", "../.env", "pipe.txt.j2", "loop.txt.j2"],
)
def test_a_template_reads_no_other_file(tmp_path: Path, name: str) -> None:
    folder, outside = tmp_path / "templates", tmp_path / "outside"
    for made in (folder, outside):
        made.mkdir()
    for file in (tmp_path / ".env", folder / ".env", outside / "steal.txt.j2"):
        file.write_text(SECRET_FILE)
    (folder / "out.txt.j2").symlink_to(outside / "steal.txt.j2")
    (folder / "hidden.txt.j2").symlink_to(".env")
    (folder / "sub").symlink_to(outside)
    (folder / "loop.txt.j2").symlink_to("loop.txt.j2")
    os.mkfifo(folder / "pipe.txt.j2")
    body = "{% block subject %}x{% endblock %}{% include '" + name + "' %}"
    (folder / "run_failed.txt.j2").write_text(body)
    rendered = renderer(overrides=folder).render("run_failed", a_story(a_run()), LETTER)
    assert "hunter2" not in rendered.text + rendered.html
    assert rendered.problem is not None
    assert rendered.problem.startswith("your template run_failed: ")
    assert name in rendered.problem


def test_a_template_file_that_is_a_link_out_of_the_folder_is_not_used(tmp_path: Path) -> None:
    """As /proc/self/environ, whose size is said to be 0."""
    (tmp_path / "run_failed.txt.j2").symlink_to("/proc/self/environ")
    rendered = renderer(overrides=tmp_path).render("run_failed", a_story(a_run()), LETTER)
    assert rendered.problem is not None
    assert "link to another file" in rendered.problem


def test_templates_of_a_config_map_are_used(tmp_path: Path) -> None:
    """Kubernetes mounts its files as links to `..data`, a link to a folder of a date."""
    mounted = tmp_path / "templates"
    for date, word in (("..2026_11_30", "old"), ("..2026_12_01", "new")):
        (mounted / date).mkdir(parents=True)
        (mounted / date / "run_failed.txt.j2").write_text("{% block subject %}" + word + "{% endblock %}")
    (mounted / "..data").symlink_to("..2026_11_30")
    (mounted / "run_failed.txt.j2").symlink_to("..data/run_failed.txt.j2")
    own = renderer(overrides=mounted)
    assert own.render("run_failed", a_story(a_run()), LETTER).subject == "old"
    (mounted / "..data").unlink()
    (mounted / "..data").symlink_to("..2026_12_01")
    assert own.render("run_failed", a_story(a_run()), LETTER).subject == "new"


ENDLESS = {
    "loops": "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "a loop that leaves all out": "{% for a in range(999) %}"
    "{% for b in range(999) if b < 0 %}{% endfor %}{% endfor %}",
    "a range": "{{ range(99999)|sum + range(99999)|sum }}",
    "times": "{{ ('a' * 10**9)|length }}",
    "a list times": "{{ ([1] * 10**9)|length }}",
    "powers": "{{ 9**(9**9) }}",
    "percent": "{{ '%9999999d' % 1 }}",
    "the filter format": "{{ '%9999999d'|format(1) }}",
    "a width from a value": "{{ '%*d' % (9999999, 1) }}",
    "a method format": "{{ '{:9999999}'.format(1) }}",
    "a width inside a format": "{{ '{:{}}'.format(1, 9999999) }}",
    "strftime": "{% set f = '%999Y' * 150000 %}{{ run.end.strftime(f) }}",
    "a width of a date": "{{ run.end.strftime('%9Y') }}",
    "a flag and a width of a date": "{{ run.end.strftime('%-_09Y') }}",
    "a long format of a date": "{{ run.end.strftime('%c' * 101) }}",
    "a width of a date in a format": "{{ '{:%999Y}'.format(run.end) }}",
    "a date's width by a filter": "{{ (run.end|attr('strftime'))('%999Y') }}",
    "center": "{{ 'a'|center(10**9) }}",
    "a method": "{{ 'a'.ljust(10**9) }}",
    "indent": "{{ 'a\nb'|indent(10**9) }}",
    "wordwrap": "{{ ('a' * 90000)|wordwrap(1, wrapstring='b' * 9000) }}",
    "batch": "{{ [1]|batch(10**9, 0)|list }}",
    "slice": "{{ [1]|slice(10**9)|list }}",
    "replace": "{% set a = 'a' * 99999 %}{{ a|replace('a', a)|length }}",
    "join": "{{ range(9999)|join('a' * 99999)|length }}",
    "tojson": "{{ [[1]]|tojson(indent=10**9) }}",
    "doubling a text": "{% set n = namespace(a='a' * 99) %}"
    "{% for b in range(40) %}{% set n.a = n.a ~ n.a %}{% endfor %}",
    "doubling by plus": "{% set n = namespace(a='a' * 99) %}"
    "{% for b in range(40) %}{% set n.a = n.a + n.a %}{% endfor %}",
    "doubling a block": "{% set n = namespace(a='a' * 99) %}"
    "{% for b in range(40) %}{% set a %}{{ n.a }}{{ n.a }}{% endset %}{% set n.a = a %}{% endfor %}",
    "doubling a list": "{% set n = namespace(a=[1]) %}"
    "{% for b in range(40) %}{% set n.a = [n.a, n.a] %}{% endfor %}{{ n.a }}",
    "doubling a tuple": "{% set n = namespace(a=(1,)) %}"
    "{% for b in range(40) %}{% set n.a = (n.a, n.a) %}{% endfor %}{{ {n.a: 1} }}",
    "a macro": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(40) }}",
    "an include": "{% set n = n|default('a' * 30) %}{% with n = n[1:] %}"
    "{% if n %}{% include 'run_failed.txt.j2' %}{% include 'run_failed.txt.j2' %}{% endif %}{% endwith %}",
    "a set that is written in a loop": "{% set a %}{% for b in range(9999) %}"
    + "x" * 9999
    + "{% endfor %}{% endset %}",
    "comparing": "{% set a = 'a' * 999999 %}"
    "{% for b in range(999) %}{% if a + 'b' in a %}{% endif %}{% endfor %}",
    "wordwrap of long texts": "{% for a in range(999) %}{{ ('ab ' * 9999)|wordwrap(5)|length }}{% endfor %}",
    "title": "{% for a in range(999) %}{{ ('ab ' * 9999)|title|length }}{% endfor %}",
    "urlize": "{% for a in range(99) %}{{ ('http://a.b ' * 9999)|urlize|length }}{% endfor %}",
    "striptags": "{% for a in range(99) %}{{ ('<a' * 9999)|striptags|length }}{% endfor %}",
    "xmlattr": "{% for a in range(9999) %}{{ {'a': 'b' * 9999}|xmlattr|length }}{% endfor %}",
    "truncate": "{% for a in range(9999) %}{{ ('a ' * 9999)|truncate(9) }}{% endfor %}",
    "wordcount": "{% for a in range(9999) %}{{ ('a ' * 9999)|wordcount }}{% endfor %}",
    "the greatest sign": "{% for a in range(99) %}{{ ('ab' * 9999)|max }}{% endfor %}",
    "sorting signs": "{% for a in range(99) %}{{ ('ab' * 9999)|sort|length }}{% endfor %}",
    "groups": "{% for a in range(999) %}{{ (['ab'] * 999)|groupby(0)|length }}{% endfor %}",
    "unique": "{% for a in range(9999) %}{{ range(9999)|unique|list|length }}{% endfor %}",
    "map": "{% for a in range(9999) %}{{ range(9999)|map('string')|list|length }}{% endfor %}",
    "a cycler": "{% set c = cycler(*range(9999)) %}{% for a in range(99999) %}{{ c.next() }}{% endfor %}",
    "a joiner": "{% for a in range(99999) %}{{ joiner('a' * 9999)() }}{% endfor %}",
    "short calls": "{% for a in range(99999) %}{% if 'a'.rindex('a') %}{% endif %}{% endfor %}",
    "includes that are missing": "{% for a in range(9999) %}"
    "{% include range(999)|map('string')|list ignore missing %}{% endfor %}",
    "an import in a loop": "{% for a in range(99999) %}{% import 'built-in/parts.txt.j2' as p %}{% endfor %}",
    "a recursive loop": "{% for a in [1, 2] recursive %}"
    "{% if loop.depth < 40 %}{{ loop([1, 2]) }}{% endif %}{% endfor %}",
    "a long body": "{% for a in range(999) %}" + "{% if a %}{% endif %}" * 999 + "{% endfor %}",
}


@pytest.mark.parametrize("work", ENDLESS.values(), ids=ENDLESS)
def test_the_work_of_a_template_of_the_users_has_an_end(tmp_path: Path, work: str) -> None:
    (tmp_path / "run_failed.txt.j2").write_text("{% block subject %}x{% endblock %}" + work)
    own, built_in = renderer(overrides=tmp_path), renderer()
    rendered = own.render("run_failed", a_story(a_run()), LETTER)
    assert rendered.problem is not None
    assert rendered.problem.startswith("your template run_failed: TooMuchWork: ")
    assert rendered.text == built_in.render("run_failed", a_story(a_run()), LETTER).text
    assert next(info.problem for info in own.templates() if info.name == "run_failed") is not None


ENVIRONMENT = Templates.from_overrides(Path("/nowhere"), templates_folder() / "email")._environment
CALLS = [
    *(f"v|{name}(*a)" for name in ENVIRONMENT.filters),
    *(f"v.{name}(*a)" for name in sorted({name for names in METHODS.values() for name in names})),
    *(f"v {sign} a[0]" for sign in ("+", "*", "**", "%", "/", "//", "-", "~", "in")),
]
TEXTS = st.builds(
    lambda text, times: text * times,
    st.sampled_from(
        ("a", "a ", "\t", "<a>", "http://a.b ", "%999d", "{:>999}", "%999Y", "{0}", "ß", "\n", "9")
    ),
    st.sampled_from((1, 50, 20_000)),
)
NUMBERS = st.sampled_from((0, -1, 1, 7, 999, 10**4, 10**9, 10**18, 2**4000, 0.5))
GIVEN = st.one_of(
    *(TEXTS, NUMBERS, st.lists(TEXTS | NUMBERS, max_size=3), st.just(range(9999))),
    *(st.just(datetime(2026, 11, 22, tzinfo=timezone.utc)), st.just({"a": "b" * 9999})),
)
MOST_MEMORY = 64 * 1024**2  # what the steps could be spent on in texts of ASCII is half of it


@pytest.mark.slow
@hypothesis_settings(max_examples=200, deadline=None)
@given(call=st.sampled_from(CALLS), value=GIVEN, given_to_it=st.lists(GIVEN, min_size=1, max_size=3))
def test_no_call_makes_more_than_its_steps(call: str, value: object, given_to_it: list[object]) -> None:
    """Filters, methods and operators, each with what makes much of little."""
    tracemalloc.start()
    try:
        with metered(), suppress(Exception):
            ENVIRONMENT.from_string("{{ " + call + " }}").render(v=value, a=given_to_it)
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "body",
    [
        "{{% block a{n} %}}{{% endblock %}}",
        "{{% macro a{n}() %}}{{% endmacro %}}",
        "{{% if {n} %}}{{% endif %}}",
        "{{% for a in [] %}}{{% endfor %}}",
        "{{% set a %}}{{% endset %}}",
        "{{% with %}}{{% endwith %}}",
        "{{% filter upper %}}{{% endfilter %}}",
    ],
)
def test_the_bodies_of_a_template_of_the_users_are_bounded(tmp_path: Path, body: str) -> None:
    """Each is compiled to so much code that thousands hold up everything else for a second."""
    many = "".join(body.format(n=n) for n in range(MAX_BODIES))
    (tmp_path / "run_failed.txt.j2").write_text("{% block subject %}x{% endblock %}" + many)
    problem = renderer(overrides=tmp_path).render("run_failed", a_story(a_run()), LETTER).problem
    assert problem is not None
    assert f"more than {MAX_BODIES} blocks" in problem


def test_a_template_that_includes_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "run_failed.txt.j2").write_text(
        "{% block subject %}x{% endblock %}{% include 'run_failed.txt.j2' %}"
    )
    problem = renderer(overrides=tmp_path).render("run_failed", a_story(a_run()), LETTER).problem
    assert problem is not None
    assert "RecursionError" in problem


UNUSABLE = {
    "lipsum": ("{{ lipsum(n=10**6) }}", "lipsum"),
    "translate": ("{{ 'a'.translate({97: 'a' * 9999}) }}", "SecurityError"),
    "punycode": ("{{ ('ü' * 9999).encode('punycode') }}", "SecurityError"),
    "strptime": ("{{ run.end.strptime(' ' * 3000, '%Z %p') }}", "SecurityError"),
    "to_bytes": ("{{ (1).to_bytes(9, 'big') }}", "SecurityError"),
    "fromkeys": ("{{ {}.fromkeys([1]) }}", "SecurityError"),
    "a method of a type": ("{{ dict.fromkeys([1]) }}", "SecurityError"),
    "format_map": ("{{ '{a.__class__}'.format_map({'a': 1}) }}", "SecurityError"),
    "extending itself": ("{% extends 'run_failed.txt.j2' %}", "RecursionError"),
    "a macro of itself": ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
    "a block of itself": ("{% block a %}{{ self.a() }}{% endblock %}", "RecursionError"),
    "deep brackets": ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "RecursionError"),
    "deep loops": ("{% for a in [1] %}" * 200 + "{% endfor %}" * 200, "RecursionError"),
    "deep conditions": ("{% if 1 %}" * 900 + "{% endif %}" * 900, "RecursionError"),
    "a long number": ("{{ " + "9" * 200_000 + " }}", "ValueError"),
    "many blocks": ("".join(f"{{% block a{n} %}}{{% endblock %}}" for n in range(MAX_NODES)), "nodes"),
    "many texts": ("{% if 1 %}{% endif %}" * MAX_NODES, "nodes"),
    "no end": ("{{ " * 50_000, "RecursionError"),
}


@pytest.mark.parametrize(("body", "said"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_template_that_cannot_be_run_costs_its_looks_alone(tmp_path: Path, body: str, said: str) -> None:
    (tmp_path / "run_failed.txt.j2").write_text("{% block subject %}x{% endblock %}" + body)
    rendered = renderer(overrides=tmp_path).render("run_failed", a_story(a_run()), LETTER)
    assert rendered.problem is not None
    assert said in rendered.problem
    assert rendered.text == renderer().render("run_failed", a_story(a_run()), LETTER).text


@pytest.mark.parametrize("end", ["{% block subject %}\n\n{{ 1 // 0 }}{% endblock %}", "\n\n{{ 1 // 0 }}"])
def test_the_line_of_a_templates_error_is_named(tmp_path: Path, end: str) -> None:
    subject = "" if "subject" in end else "{% block subject %}x{% endblock %}"
    (tmp_path / "run_failed.txt.j2").write_text(subject + end)
    problem = renderer(overrides=tmp_path).render("run_failed", a_story(a_run()), LETTER).problem
    assert problem is not None
    assert problem.endswith("(line 3)")


@pytest.mark.parametrize(("how", "said"), [("", "import the file `with context`"), (" with context", None)])
def test_a_file_of_macros_is_imported_with_context(tmp_path: Path, how: str, said: str | None) -> None:
    """Without it the file knows no time zone, and a moment in another one would mislead."""
    (tmp_path / "own.txt.j2").write_text("{% macro began(run) %}{{ run.start|when }}{% endmacro %}")
    body = '{% import "own.txt.j2" as own' + how + " %}{% block subject %}x{% endblock %}{{ own.began(run) }}"
    (tmp_path / "run_failed.txt.j2").write_text(body)
    problem = renderer(overrides=tmp_path).render("run_failed", a_story(a_run()), LETTER).problem
    assert (problem is None) if said is None else (said in (problem or ""))


def test_a_syntax_tree_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "run_failed.txt.j2").write_text("{% block subject %}x{% endblock %}" + "{{1}}" * MAX_NODES)
    problem = renderer(overrides=tmp_path).render("run_failed", a_story(a_run()), LETTER).problem
    assert problem is not None
    assert f"more than {MAX_NODES:,} nodes" in problem


def test_what_a_template_does_costs_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "t.txt.j2").write_text(
        "{% block subject %}x{% endblock %}{{ 'a' * 9 }}{{ [1, 2]|join('-') }}"
    )
    (tmp_path / "t.html.j2").write_text("{% for a in range(3) %}{{ a }}{% endfor %}")
    own = Templates.from_overrides(tmp_path, templates_folder() / "email")
    spent = []
    for _ in range(3):
        own.write("t", {})
        spent.append(own.steps)
    assert spent[0] == spent[1] == spent[2] > 0


def test_a_name_that_is_not_there_may_have_a_default(tmp_path: Path) -> None:
    (tmp_path / "run_failed.txt.j2").write_text(
        "{% block subject %}{{ no|default('a') }}{{ no is defined }}{{ '{:>3}'.format('b') }}{{ '%03d' % 7 }}"
        "{{ [1, 2]|map('string')|join('-') }}{{ ('a', 1) == ('a', 1) }}{{ 'abc'[1:] ~ 2 ** 3 }}{% endblock %}"
    )
    rendered = renderer(overrides=tmp_path).render("run_failed", a_story(a_run()), LETTER)
    assert (rendered.problem, rendered.subject) == (None, "aFalse b0071-2Truebc8")


def test_a_copy_of_every_built_in_template_has_steps_to_spare(tmp_path: Path) -> None:
    for file in (templates_folder() / "email").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    lines = tuple(f"{number} " + "<&>" * 99 for number in range(20))
    tasks = tuple(a_task(f"task_{n}", error=Error("E", "&" * 600, lines, "Log")) for n in range(200))
    happenings = tuple(a_happening(n, what="<" * 240) for n in range(60))
    story = a_story(a_run(), failed=tasks, task=tasks[0], events=happenings, history=history("✓✗" * 10))
    own = renderer(overrides=tmp_path)
    for name in TEMPLATES:
        assert own.preview(name).problem is None
        assert own.preview(name).html == renderer().preview(name).html
        if name not in ("import_error", "asset_updated", "watch"):  # they tell none of it
            assert own.render(name, story, LETTER).problem is None


def test_a_template_of_the_users_goes_before_the_built_in_one_and_may_build_on_it(tmp_path: Path) -> None:
    (tmp_path / "run_failed.html.j2").write_text(
        '{% extends "built-in/run_failed.html.j2" %}{% block facts %}<p>Ask {{ run.dag_id }}’s owner</p>'
        "{% endblock %}"
    )
    (tmp_path / "pager.txt.j2").write_text(
        '{% extends "base.txt.j2" %}{% block subject %}{{ run.dag_id }}!{% endblock %}'
    )
    (tmp_path / "pager.html.j2").write_text('{% extends "base.html.j2" %}')
    own = renderer(overrides=tmp_path)
    story = a_story(a_run(dag_id="<b>etl"), failed=(a_task(),))
    rendered = own.render("run_failed", story, LETTER)
    assert rendered.problem is None
    assert "<p>Ask &lt;b&gt;etl’s owner</p>" in rendered.html
    assert "ValueError" in rendered.html
    assert own.render("pager", story, LETTER).subject == "<b>etl!"
    assert {info.name for info in own.templates()} == {*TEMPLATES, "pager"}
    assert all(info.problem is None for info in own.templates())
    (tmp_path / "base.html.j2").write_text("{{ nothing }}")
    assert all(info.problem for info in own.templates())


@pytest.mark.parametrize("name", ["no_such", "../web/base", "base/../run_failed", ""])
def test_a_template_that_is_not_there_is_replaced_by_the_usual_one(name: str) -> None:
    story = a_story(a_run(), failed=(a_task(),))
    rendered = renderer().render(name, story, LETTER)
    assert rendered.text == renderer().render("run_failed", story, LETTER).text
    assert (rendered.problem is not None) == (name == "no_such")


def test_links_are_left_out_where_airflow_has_no_address() -> None:
    story = a_story(a_run(deployment="elsewhere"), failed=(a_task(),))
    rendered = renderer().render("run_failed", story, LETTER)
    assert rendered.problem is None
    assert "airflow:8080" not in rendered.message.as_string()
    assert "http://monitor:8090/runs/elsewhere/etl/" in body(rendered.message, "plain")


def test_an_address_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"(?i)linefeed|header"):
        renderer().render("run_failed", a_story(a_run()), Envelope(MESSAGE_ID, "a@x\r\nBcc: b@x", "r"))


def test_every_template_is_there_and_shows_itself() -> None:
    names = {path.name for path in (templates_folder() / "email").iterdir()}
    assert names == {
        f"{name}.{kind}.j2" for name in (*TEMPLATES, "base", "parts") for kind in ("txt", "html")
    }
    assert [info.name for info in renderer().templates()] == list(TEMPLATES)
    for name in TEMPLATES:
        for hostile in (False, True):
            assert renderer().preview(name, hostile).problem is None


def test_the_story_of_an_incident_is_told() -> None:
    opened = NOW - timedelta(hours=3)
    story = a_story(
        a_run(),
        failed=(a_task(),),
        incident=since(failures=4, opened_at=opened, acknowledged_by="alice", acknowledged_reason="on it"),
        last_good=a_run("success", run_id="good"),
        changes=(RunDifference("Took", timedelta(seconds=2), timedelta(seconds=6.5), "×3.2"),),
        history=history("✓✓✗✓✗"),
    )
    letter = replace(LETTER, silence_url="http://s", acknowledge_url="http://ack", timezone="Europe/Berlin")
    rendered = renderer().render("run_failed", story, letter)
    for told in (rendered.text, Text(rendered.html).text):
        assert "22 Nov 2026, 08:00:00 CET" in told
        assert "4 in 3 h 0 min" in told
        assert "took 6.5 s" in told
        assert "by alice: on it" in told
        assert "×3.2" in told
        assert "3 good, 2 failed" in told
    assert "✓✓✗✓✗" in rendered.text
    assert "▂▄▅▇█" in rendered.text
    assert "http://s" in Text(rendered.html).links
    assert "http://ack" not in rendered.text, "it is acknowledged already"
    fresh = replace(story, incident=since())
    assert "http://ack" in renderer().render("run_failed", fresh, letter).text


def test_the_page_for_those_who_write_templates_names_all_that_there_is() -> None:
    page = (REPOSITORY / "docs" / "mail.md").read_text()
    named = set(re.findall(r"`(\w+)", page))
    assert set(TEMPLATES) | set(FILTERS) <= named
    assert set(renderer().values(*sample("run_failed"))) <= named


def test_a_follow_up_counts_and_lists() -> None:
    story = a_story(
        a_run(),
        kind="follow_up",
        failed=(a_task(),),
        incident=since(failures=50),
        events=tuple(a_happening(number) for number in range(3)),
        earlier=40,
    )
    rendered = renderer().render("run_failed_again", story, LETTER)
    assert rendered.problem is None
    assert "43 more failures since the last mail, 50 in " in rendered.text
    for told in (rendered.text, Text(rendered.html).text):
        assert told.count("failed at load: ValueError: boom") == 3
        assert "and 40 before these" in told


def test_a_group_tells_the_first_and_lists_all() -> None:
    both = (a_happening(0), a_happening(1, subject="other"))
    rendered = renderer().render("run_failed", a_story(a_run(), failed=(a_task(),), events=both), LETTER)
    assert rendered.subject == "2 DAGs, etl first · load · ValueError: no such table: <b>größe</b>"
    again = replace(both[1], subject="etl")
    story = a_story(a_run(), failed=(a_task(),), events=(both[0], again))
    told = renderer().render("run_failed", story, LETTER)
    assert told.subject.startswith("etl · load · ")
    assert "2 failures; the first, in full, is of etl" in told.text


def test_a_conversation_keeps_its_subject_and_names_what_was_before() -> None:
    ids = tuple(f"<windsock.{'d' * 60}.{n}.{'0' * 32}@windsock.example.com>" for n in range(20))
    subject = "✗ größe failed at load: " + "x" * 200
    first = renderer().render("run_failed", a_story(a_run()), replace(LETTER, subject=None))
    letter = replace(LETTER, references=ids, subject=first.subject)
    rendered = renderer().render("recovered", a_story(a_run("success"), kind="recovered"), letter)
    message = sent(rendered.message)
    assert message["Subject"] == rendered.subject == first.subject
    assert message["In-Reply-To"] == ids[-1]
    assert str(message["References"]).split() == list(ids)
    raw = rendered.message.as_bytes(policy=policy.SMTP)
    assert b"=?utf-8?q?=3C" not in raw, "an encoded Message-ID is found by no program"
    assert max(map(len, raw.partition(b"\r\n\r\n")[0].split(b"\r\n"))) < 250
    long = renderer().render("recovered", a_story(a_run()), replace(letter, subject=subject))
    assert sent(long.message)["Subject"] == long.subject
    assert long.subject.startswith("✗ größe failed at load: xxx")
    assert len(long.subject) == SUBJECT_LENGTH


def test_one_click_unsubscribes() -> None:
    url = "https://windsock.example.com/links/unsubscribe/" + "a" * 300
    rendered = renderer().render("run_failed", a_story(a_run()), replace(LETTER, unsubscribe_url=url))
    message = sent(rendered.message)
    assert message["List-Unsubscribe"] == f"<{url}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert url.encode() in rendered.message.as_bytes(policy=policy.SMTP)
    assert url in rendered.text
    assert url in Text(rendered.html).links
    assert "List-Unsubscribe" not in renderer().render("run_failed", a_story(a_run()), LETTER).message


@pytest.mark.parametrize("rule", ["failures", "Alle Fehler!", "größe", "模型", "a\r\nBcc: x", "x" * 200])
def test_a_rules_mails_have_an_id_to_sort_by(rule: str) -> None:
    made = list_id(rule, "example.com")
    assert re.fullmatch(r"<[a-z0-9-]{1,60}\.windsock\.example\.com>", made)
    assert made == list_id(rule, "example.com")
    message = sent(renderer().render("run_failed", a_story(a_run()), replace(LETTER, rule=rule)).message)
    assert message["List-Id"] == made


def test_rules_of_like_names_have_different_ids() -> None:
    assert len({list_id(rule, "h") for rule in ("a b", "a-b", "A b", "a  b")}) == 4


def test_which_airflow_is_said_where_there_are_several() -> None:
    clock = FakeClock()
    two = Renderer("a@example.com", "http://m", {"local": "http://a", "emea": "http://b"}, clock)
    assert (
        two.render("run_failed", a_story(a_run()), LETTER).subject
        == "[local] etl · manual__2026-11-22T10:00:00+00:00"
    )
    assert (
        renderer().render("run_failed", a_story(a_run()), LETTER).subject
        == "etl · manual__2026-11-22T10:00:00+00:00"
    )


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata", "UTC", "No/Such", ""])
def test_times_name_their_zone(zone: str) -> None:
    moment = datetime(2026, 11, 25, 7, 12, 30, tzinfo=timezone.utc)
    expected = {
        "Europe/Berlin": "25 Nov 2026, 08:12:30 CET",
        "America/Sao_Paulo": "25 Nov 2026, 04:12:30 UTC-03",
        "Asia/Kolkata": "25 Nov 2026, 12:42:30 IST",
    }
    assert when(moment, zone_of(zone)) == expected.get(zone, "25 Nov 2026, 07:12:30 UTC")
    assert iso(moment) == "2026-11-25T07:12:30Z"


def test_times_follow_daylight_saving_and_have_no_gaps_at_the_calendars_end() -> None:
    berlin = zone_of("Europe/Berlin")
    assert when(datetime(2026, 7, 1, 12, tzinfo=timezone.utc), berlin) == "1 Jul 2026, 14:00:00 CEST"
    assert when(datetime.max.replace(tzinfo=timezone.utc), berlin).startswith("31 Dec 9999")
    assert when(None) == "–"


@pytest.mark.parametrize(
    ("kind", "event_type", "template"),
    [
        ("opened", "airflow.dag_run.failed", "run_failed"),
        ("failure", "airflow.dag_run.failed", "run_failed"),
        ("opened", "airflow.task_instance.failed", "task_failed"),
        ("opened", "airflow.dag.import_error", "import_error"),
        ("opened", "windsock.run.late", "watch"),
        ("opened", "windsock.mail.failing", "watch"),
        ("follow_up", "windsock.run.late", "run_failed_again"),
        ("reminder", "airflow.dag_run.failed", "run_failed_again"),
        ("recovered", "windsock.airflow.recovered", "recovered"),
        ("flapping", "airflow.dag_run.failed", "flapping"),
        ("success", "airflow.dag_run.success", "run_success"),
        ("success", "airflow.task_instance.success", "notice"),
        ("notice", "airflow.asset.updated", "asset_updated"),
        ("notice", "airflow.dag.paused", "notice"),
        ("notice", "windsock.delivery.dead", "notice"),
        ("digest", "airflow.dag_run.success", "digest"),
    ],
)
def test_each_kind_of_word_has_its_template(kind: str, event_type: str, template: str) -> None:
    assert usual(kind, event_type) == template
    rule = Rule(name="r", template={"digest": "mine", "recovered": "back"})
    own = {"digest": "mine", "recovered": "back"}
    assert choose(rule, kind, event_type) == own.get(kind, template)
    assert choose(Rule(name="r", template={"default": "all"}), kind, event_type) == "all"


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_can_tell_every_kind_of_story(template: str) -> None:
    """A rule may name any template for any kind: what it cannot tell is told by the usual one."""
    for name in TEMPLATES:
        story, letter = sample(name)
        rendered = renderer().render(template, story, letter)
        assert rendered.text
        assert rendered.problem is None, f"{template} tells of {name}"


@pytest.mark.parametrize(
    ("told", "lines"),
    [
        ("short", ["short"]),
        (
            "Label     " + "word " * 20,
            ["Label     " + "word " * 12 + "word", " " * 10 + "word " * 6 + "word"],
        ),
        ("  | " + "x" * 100, ["  | " + "x" * 74, "  | " + "x" * 26]),
        ("Airflow   http://" + "x" * 100, ["Airflow   http://" + "x" * 100]),
        (
            '  |   File "/a folder/' + "x" * 80 + '.py", line 8, in load_everything',
            ['  |   File "/a folder/' + "x" * 80 + '.py", line 8,', "  |   in load_everything"],
        ),
        ("✗ " + "模" * 50, ["✗ " + "模" * 38, "  " + "模" * 12]),
        ("-- ", ["-- "]),
    ],
)
def test_plain_text_fits_a_terminal(told: str, lines: list[str]) -> None:
    assert fit(told).split("\n") == lines


@hypothesis_settings(deadline=None)
@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=400))
def test_any_text_fits_a_terminal_and_nothing_of_it_is_lost(text: str) -> None:
    folded = fit(text)
    assert all(columns(line) <= WIDTH or "://" in line or 'File "' in line for line in folded.split("\n"))
    assert "".join(folded.replace("|", "").split()) == "".join(text.replace("|", "").split())


def test_numbers_are_told_as_people_tell_them() -> None:
    assert [pluralize(number, "failure") for number in (0, 1, 2)] == ["0 failures", "1 failure", "2 failures"]
    assert [nth(number) for number in (1, 2, 3, 4, 11, 12, 21, 102)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "21st", "102nd"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0.0 s"),
        (-5, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (3599.6, "1 h 0 min"),
        (3780, "1 h 3 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_durations_are_told_as_people_tell_them(seconds: float, told: str) -> None:
    assert span(timedelta(seconds=seconds)) == told


@pytest.mark.parametrize("hostile", [False, True])
@pytest.mark.parametrize("template", TEMPLATES)
def test_the_sandbox_of_users_templates_changes_no_word(template: str, hostile: bool, tmp_path: Path) -> None:
    folder = templates_folder() / "email"
    renderer = Renderer("windsock@example.com", "http://monitor", {"local": "http://airflow"}, FakeClock())
    built_in, users = Templates.built_in(folder), Templates.from_overrides(tmp_path, folder)
    story, letter = sample(template, hostile)
    for zone in ("UTC", "Asia/Kathmandu"):
        values = renderer.values(clean_record(story), replace(letter, timezone=zone))
        assert users.write(template, values) == built_in.write(template, values)


def test_the_sender_tells_the_state_and_the_summary_tells_it_too() -> None:
    """So that an inbox says what is open, also where an address book replaces the sender's name."""
    closed = since(failures=4, opened_at=NOW - timedelta(hours=3), closed_at=NOW)
    acknowledged = since(failures=4, acknowledged_by="alice")
    states = {
        "✗ Failed": a_story(a_run(), failed=(a_task(),), incident=since()),
        "⏱ Still failing": a_story(a_run(), kind="reminder", failed=(a_task(),), incident=since(failures=4)),
        "▲ Acknowledged": a_story(a_run(), kind="follow_up", failed=(a_task(),), incident=acknowledged),
        "✗ Flapping": a_story(a_run(), kind="flapping", failed=(a_task(),), incident=since()),
        "✓ Recovered": a_story(a_run("success"), kind="recovered", incident=closed),
        "✓ Succeeded": a_story(a_run("success")),
        "↻ Retrying": a_story(a_run(), kind="notice", event_type="airflow.task_instance.up_for_retry"),
    }
    openings = ("Open since", "Still open", "Still open", "Still open", "Resolved", "Succeeded", "Retrying")
    subject = "etl · load · ValueError"
    for (state, story), opening in zip(states.items(), openings, strict=True):
        template = usual(story.kind, story.event_type)
        rendered = renderer().render(template, story, replace(LETTER, subject=subject))
        assert rendered.problem is None
        sender = sent(rendered.message)["From"].addresses[0]
        assert (sender.display_name, sender.addr_spec) == (f"{state} · Windsock", "windsock@example.com")
        assert rendered.subject == subject
        assert rendered.title == f"{state} · {subject}"
        assert rendered.text.startswith(opening)
        assert Text(rendered.html).text.partition("</style>")[2].strip().startswith(opening) or (
            f'mso-hide:all;">{opening}' in rendered.html
        )


@pytest.mark.parametrize(
    ("sender", "name"),
    [
        ("w@example.com", "✗ Failed · Windsock"),
        ("Data Platform <w@example.com>", "Data Platform"),
        ('"{state} · Data, Platform" <w@example.com>', "✗ Failed · Data, Platform"),
    ],
)
def test_a_display_name_is_fixed_unless_it_asks_for_the_state(sender: str, name: str) -> None:
    rendered = Renderer(sender, "http://m", {}, FakeClock()).render("run_failed", a_story(a_run()), LETTER)
    assert sent(rendered.message)["From"].addresses[0].display_name == name


def test_equal_errors_of_mapped_instances_are_one_row() -> None:
    tasks = tuple(
        a_task("load", number, error=Error("RuntimeError", f"checksum mismatch, expected 0x{number:04x}"))
        for number in range(1, 31)
    )
    rendered = renderer().render("run_failed", a_story(a_run(), failed=tasks), LETTER)
    assert rendered.subject == "etl · load ×30 · RuntimeError: checksum mismatch, expected 0x0001"
    for text in (rendered.text, Text(rendered.html).text):
        assert "load[1], [2], … [30]" in text
        assert "30 × RuntimeError: checksum mismatch, expected 0x0001 (numbers differ)" in " ".join(
            text.split()
        )
        assert text.count("try 2 of 2") == 1
    equal = tuple(replace(task, error=tasks[0].error) for task in tasks)
    text = renderer().render("run_failed", a_story(a_run(), failed=equal), LETTER).text
    assert "30 × RuntimeError: checksum mismatch" in " ".join(text.split())
