"""The mails: what they say, that they are valid, and that no name or error text gets out of its place."""

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

from monitor.render import Asset, Error, Fact, Letter, Renderer, Run, Story, Task, templates_folder
from monitor.render.renderer import SUBJECT_LENGTH
from monitor.render.words import span
from tests.monitor.conftest import NOW, FakeClock

TO = ("ops@example.com", "dev@example.com")
MESSAGE_ID = f"<windsock.{'d' * 100}.123456.{'0' * 32}@example.com>"
LETTER = Letter(MESSAGE_ID, TO, "failures")
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
    "x" * 2_000,
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
    "X-Windsock-Event",
    "MIME-Version",
    "Content-Type",
}


@cache
def renderer(folder: Path | None = None) -> Renderer:
    return Renderer(
        "windsock@example.com", "http://monitor:8090", {"local": "http://airflow:8080"}, FakeClock(), folder
    )


def a_run(state: str = "failed", **changes: Any) -> Run:
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
    return Run(**{**values, **changes})


def a_task(task_id: str = "load", map_index: int = -1, **changes: Any) -> Task:
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
    return Task(task_id, map_index, **{**values, **changes})


def a_story(run: Run, **parts: Any) -> Story:
    return Story("run:0123:failed", f"airflow.dag_run.{run.state}", run, **parts)


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
        self.text += data


def test_a_failure_says_what_where_why_and_since_when() -> None:
    rendered = renderer().render("run_failed", a_story(a_run(), failed=(a_task("load", 3),)), LETTER)
    assert rendered.problem is None
    assert rendered.subject == "[local] ✗ etl failed at load[3]: ValueError: no such table: <b>größe</b>"
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
        "2026-11-22 10:00:07 UTC",
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
    assert rendered.subject.startswith("[local] ✗ etl failed at task_00 and 29 more: ")
    for kind in ("plain", "html"):
        told = body(rendered.message, kind)
        assert all(f"task_{number:02}" in told for number in range(25))
        assert "task_25" not in told
        assert "and 5 more" in told


def test_an_unconfirmed_mail_says_so_first() -> None:
    story = a_story(a_run(), failed=(a_task(),), unconfirmed="no answer from Airflow")
    rendered = renderer().render("run_failed", story, LETTER)
    assert "(unconfirmed)" in rendered.subject
    for kind in ("plain", "html"):
        assert "unconfirmed" in body(rendered.message, kind).lower()
        assert "no answer from Airflow" in body(rendered.message, kind)


@pytest.mark.parametrize(
    ("failed", "said"),
    [((), "No failed task is known"), ((a_task(error=None),), "No error was reported")],
)
def test_what_is_not_known_is_said(failed: tuple[Task, ...], said: str) -> None:
    rendered = renderer().render("run_failed", a_story(a_run(), failed=failed), LETTER)
    assert rendered.problem is None
    assert all(said in " ".join(body(rendered.message, kind).split()) for kind in ("plain", "html"))


def test_a_log_without_an_error_is_shown() -> None:
    task = a_task(error=Error(None, "", ("killed by the kernel",), "Log"))
    rendered = renderer().render("run_failed", a_story(a_run(), failed=(task,)), LETTER)
    assert rendered.subject == "[local] ✗ etl failed at load"
    for kind in ("plain", "html"):
        assert "No error was reported" in body(rendered.message, kind)
        assert "killed by the kernel" in body(rendered.message, kind)


def test_a_success_says_how_long_and_how_good() -> None:
    story = a_story(
        a_run("success", dag_id="Airflow_Lab2"),
        tasks=(a_task("build_model", state="success", error=None),),
        metrics=(Fact("Accuracy", "0.9825"), Fact("ROC AUC", "0.9954"), Fact("F1", "0.9861")),
        assets=(Asset("model.pkl", "file:///m.pkl", (Fact("rows", "569"),), ("release / asset_1",)),),
    )
    rendered = renderer().render("run_success", story, LETTER)
    assert rendered.problem is None
    assert rendered.subject == (
        "[local] ✓ Airflow_Lab2 succeeded in 6.5 s · Accuracy 0.9825 · ROC AUC 0.9954"
    )
    for fact in ("build_model", "0.9861", "model.pkl", "file:///m.pkl", "569", "release / asset_1", "6.5 s"):
        assert fact in body(rendered.message, "plain")
        assert fact in Text(body(rendered.message, "html")).text


def test_the_headers_are_those_of_a_machine_and_the_message_id_is_the_deliverys() -> None:
    message = sent(renderer().render("run_failed", a_story(a_run()), LETTER).message)
    assert set(message.keys()) == HEADERS
    assert message["Message-ID"] == MESSAGE_ID
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["From"] == "Windsock <windsock@example.com>"
    assert [address.addr_spec for address in message["To"].addresses] == list(TO)
    assert message["Date"].datetime == NOW
    assert message["X-Windsock-Event"] == "run:0123:failed"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


def check_safe(story: Story, template: str) -> None:
    rendered = renderer().render(template, story, LETTER)
    assert rendered.problem is None
    message = sent(rendered.message)
    assert set(message.keys()) == HEADERS
    assert len(message.keys()) == len(HEADERS)
    assert [address.addr_spec for address in message["To"].addresses] == list(TO)
    assert len(rendered.subject) <= SUBJECT_LENGTH
    assert "\n" not in rendered.subject
    assert "".join(str(message["Subject"]).split()) == "".join(rendered.subject.split())
    text, page = body(message, "plain"), Text(body(message, "html"))
    assert not set(text) & {chr(code) for code in (*range(10), *range(11, 32), 127, 0x202E, 0x2028)}
    assert "script" not in page.elements
    assert len(message.as_bytes()) < 102_000, "Gmail cuts a mail off here"


def hostile_story(text: str, state: str) -> Story:
    run = a_run(state, dag_id=text, run_id=text, run_type=text, message=text)
    task = a_task(text, host=text, error=Error(text, text, (text[:300],), "Log"))
    return Story(
        event_id=text,
        event_type=f"airflow.dag_run.{state}",
        run=run,
        failed=(task,),
        tasks=(task,),
        metrics=(Fact("Accuracy", "1.0000"),),
        assets=(Asset(text, text, (Fact(text, text),), (text,)),),
        unconfirmed=text,
    )


@pytest.mark.parametrize("state", ["failed", "success"])
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_no_text_leaves_its_place(text: str, state: str) -> None:
    check_safe(hostile_story(text, state), f"run_{state}")


@hypothesis_settings(deadline=None, max_examples=150)
@given(text=st.text(st.characters(), max_size=200), state=st.sampled_from(["failed", "success"]))
def test_no_text_at_all_leaves_its_place(text: str, state: str) -> None:
    check_safe(hostile_story(text, state), f"run_{state}")


@pytest.mark.parametrize(
    "template",
    ["{% block subject %}{{ run.nothing }}{% endblock %}", "no subject", "{% if %}", "{{ 1 / 0 }}", None],
    ids=["undefined", "no subject", "syntax", "error", "missing"],
)
def test_a_broken_template_costs_its_looks_and_not_its_news(tmp_path: Path, template: str | None) -> None:
    email = tmp_path / "email"
    email.mkdir()
    if template is not None:
        (email / "run_failed.txt.j2").write_text(template)
        (email / "run_failed.html.j2").write_text("fine")
    story = a_story(a_run(), failed=(a_task(),), unconfirmed="why")
    rendered = renderer(tmp_path).render("run_failed", story, LETTER)
    assert rendered.problem is not None
    assert "template run_failed" in rendered.problem
    assert rendered.subject == "[local] ✗ etl: failed"
    for kind in ("plain", "html"):
        told = body(sent(rendered.message), kind)
        for fact in ("etl", "manual__2026", "load", "ValueError", "unconfirmed", "template run_failed"):
            assert fact in told
    assert "<b>" not in body(rendered.message, "html")


def test_links_are_left_out_where_airflow_has_no_address() -> None:
    story = a_story(a_run(deployment="elsewhere"), failed=(a_task(),))
    rendered = renderer().render("run_failed", story, LETTER)
    assert rendered.problem is None
    assert "airflow:8080" not in rendered.message.as_string()
    assert "http://monitor:8090/runs/elsewhere/etl/" in body(rendered.message, "plain")


def test_an_address_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"(?i)linefeed|header"):
        renderer().render("run_failed", a_story(a_run()), Letter(MESSAGE_ID, ("a@x\r\nBcc: b@x",), "r"))


def test_every_template_of_a_rule_is_there() -> None:
    names = {path.name for path in (templates_folder() / "email").iterdir()}
    for name in ("base", "run_failed", "run_success"):
        assert {f"{name}.txt.j2", f"{name}.html.j2"} <= names


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
