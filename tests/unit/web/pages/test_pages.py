"""The pages: nothing that Airflow's users can name gets out of its text, headers, mail in a sandbox."""

import json
import re
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from monitor.settings import Settings
from monitor.web.pages.deliveries import MAX_SHOWN_HTML, MAX_SHOWN_TEXT
from monitor.web.templating import TEMPLATES, EventLine, load_templates
from tests import wait
from tests.sample import asset_event, event, moment, run_event, task_event
from tests.unit.web_support import Served, serving

CONTRACT = Path(__file__).parents[3] / "contract"
MARK = "0wned"
ATTACK = f"\"'><script>{MARK}()</script><img src=x onerror={MARK}()>{{{{ 7*191 }}}}\u202e\x1b[2J&amp;"
"""Closes attributes and elements, runs, loads, is a template, turns text round, commands a terminal."""


@pytest.fixture
def monitor(settings: Settings) -> Iterator[Served]:
    with serving(settings) as monitor:
        monitor.client.headers["Accept"] = "text/html"
        yield monitor


class Elements(HTMLParser):
    """Every element of a page with its attributes, as a browser sees them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def assert_harmless(answer: httpx.Response, shown: bool = True) -> None:
    page = answer.text
    assert answer.status_code < 500
    assert (MARK in page) is shown, "the page does not show what was sent, so it proves nothing"
    elements = Elements(page)
    (script,) = elements.of("script")
    assert re.fullmatch(r"/static/[0-9a-f]{16}/page\.js", str(script.get("src")))
    for tag, attributes in elements.found:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name != "style", tag
            assert not (value or "").lower().lstrip().startswith("javascript:"), (tag, name, value)
    assert all(MARK not in (image.get("src") or "") for image in elements.of("img"))
    assert "1337" not in page
    assert "\u202e" not in page
    assert "\x1b" not in page


def hostile() -> list[dict[str, Any]]:
    """An event of each kind whose every text is an attack."""
    names = {"dag_id": f"dag{ATTACK}", "run_id": f"run{ATTACK}"}
    error = {"type": f"E{ATTACK}", "message": f"m{ATTACK}\n{ATTACK}", "traceback": f"t{ATTACK}\n  {ATTACK}"}
    task = task_event(
        "failed", f"task{ATTACK}", error=error, operator=f"op{ATTACK}", hostname=f"host{ATTACK}", **names
    )
    uri = f"javascript:{ATTACK}"
    source = {"source_dag_id": names["dag_id"], "source_run_id": names["run_id"]}
    extra = {
        f"key{ATTACK}": f"value{ATTACK}",
        "items": 1,
        "accuracy": 0.97,
        "nested": {"a": [ATTACK]},
        "n": None,
    }
    asset = asset_event(
        1, uri, extra=extra, asset={"name": f"asset{ATTACK}", "uri": uri, "group": ATTACK}, **source
    )
    broken = event(
        "airflow.dag.import_error",
        "import_error:1",
        f"file{ATTACK}",
        moment(),
        {"filename": f"file{ATTACK}", "stacktrace": f"t\n{ATTACK}", "bundle_name": ATTACK},
    )
    alias = event(
        "airflow.asset_alias.created",
        "asset_alias:1",
        ATTACK,
        moment(),
        {"alias": {"name": ATTACK, "group": ATTACK}},
    )
    run = run_event("failed", f"dag{ATTACK}", f"run{ATTACK}", run_type=f"<script>{MARK}()", message=ATTACK)
    assert all(told["subject"] for told in (task, asset, broken, alias, run))
    return [task, asset, broken, alias, run]


def test_every_page_shows_hostile_names_as_text(monitor: Served) -> None:
    answer = monitor.post(hostile())
    assert answer.json()["accepted"] == 5, answer.text
    mailbox = monitor.app.state.services.mailbox
    wait.until(lambda: len(mailbox.mails(1)) == 1, "the mail")
    run = f"/runs/local/{quote('dag' + ATTACK, safe='')}/{quote('run' + ATTACK, safe='')}"
    letter = mailbox.mails(1)[0].id
    dag = quote(f"dag{ATTACK}", safe="")
    assert monitor.client.post("/incidents/2/acknowledge", data={"reason": ATTACK}).status_code == 303
    silence = {"dag_id": f"dag{ATTACK}", "until": "1h", "reason": ATTACK}
    assert monitor.client.post("/silences", data=silence).status_code == 303
    for path in (
        "/",
        "/events/list",
        "/mail",
        run,
        f"/status?dag_id={dag}",
        "/deliveries/1",
        "/deliveries/2",
        f"/mail/{letter}",
        "/incidents",
        "/incidents/1",
        "/incidents/2",
        "/silences",
        f"/silences/new?dag_id={dag}",
    ):
        assert_harmless(monitor.client.get(path))


@pytest.mark.parametrize(
    "path",
    [
        "/events/list?dag_id={}",
        "/status?dag_id={}",
        "/runs/local/{}/x",
        "/runs/{}/y/x",
        "/mail/{}",
        "/{}",
        "/events/list?{}=1",
        "/mail?dag_id={}",
        "/mail?since={}",
        "/silences/new?reason={}",
        "/silences/new?until={}&own_end={}",
        "/incidents/{}",
        "/templates/{}",
        "/links/silence/{}",
        "/links/nothing/{}",
    ],
)
def test_what_the_address_says_is_shown_as_text(monitor: Served, path: str) -> None:
    answer = monitor.client.get(path.replace("{}", quote(ATTACK, safe="")))
    assert_harmless(answer, shown=MARK in answer.text)


def test_the_headers_of_every_answer(monitor: Served) -> None:
    monitor.post([run_event("failed")])
    for path in (
        "/",
        "/status",
        "/api/v1/runs",
        "/static/page.js",
        "/nowhere",
        "/api/nothing",
        "/health",
        "/docs",
    ):
        headers = monitor.client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert "uvicorn" not in headers.get("server", "")
    assert monitor.client.get("/").headers["cache-control"] == "no-store"


BUILT = (
    "/",
    "/events/list",
    "/mail",
    "/status",
    "/docs",
    "/incidents",
    "/incidents/1",
    "/deliveries/1",
    "/silences",
    "/silences/new?dag_id=Airflow_Lab2",
    "/settings",
    "/templates",
    "/templates/run_failed",
)


@pytest.mark.parametrize("path", [*BUILT, "/links/silence/x", "/nowhere"])
def test_nothing_is_loaded_from_elsewhere_and_nothing_runs_inline(monitor: Served, path: str) -> None:
    for tag, attributes in Elements(monitor.client.get(path).text).found:
        assert tag != "style"
        for name in ("src", "href", "action"):
            address = attributes.get(name)
            assert address is None or re.match(r"[/#]", address), (tag, address)
        if tag == "script":
            assert attributes["src"]


@pytest.mark.parametrize("path", BUILT)
def test_a_page_is_built_for_everyone(monitor: Served, path: str) -> None:
    monitor.post([task_event("failed"), asset_event(1), run_event("failed", "Airflow_Lab2")])
    page = monitor.client.get(path).text
    elements = Elements(page)
    assert elements.of("html") == [{"lang": "en"}]
    assert len(elements.of("h1")) == 1
    assert len(elements.of("main")) == 1
    assert elements.of("nav")[0]["aria-label"]
    assert all(image.get("alt") is not None for image in elements.of("img"))
    labelled = re.findall(r"<label[^>]*>(?:[^<]|</?span[^>]*>)*<(?:input|select)", page)
    fields = [*elements.of("input"), *elements.of("select")]
    assert len(labelled) == len([one for one in fields if one.get("type") != "hidden"])
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(svg.get("aria-hidden") == "true" for svg in elements.of("svg"))


def test_the_status_page_of_each_result(monitor: Served) -> None:
    assert "No run yet" in monitor.client.get("/status").text
    monitor.post([asset_event(1, source_dag_id="Airflow_Lab2"), run_event("success", "Airflow_Lab2")])
    page = monitor.client.get("/status").text
    assert "The last run of Airflow_Lab2 succeeded" in page
    assert "0.97" in page
    error = {"type": "ValueError", "message": "column missing"}
    monitor.post([task_event("failed", dag_id="Airflow_Lab2", run_id="second", error=error)])
    monitor.post([run_event("failed", "Airflow_Lab2", run_id="second", start=60)])
    monitor.post([run_event("running", "Airflow_Lab2", run_id="third", start=120)])
    page = monitor.client.get("/status").text
    assert "The last run of Airflow_Lab2 failed" in page
    assert "column missing" in page
    assert "third" in page


def test_a_runs_page(monitor: Served) -> None:
    error = {
        "type": "ValueError",
        "message": "no such column",
        "traceback": "Traceback\n  File x\nValueError",
    }
    monitor.post([run_event("running"), task_event("failed", error=error, try_number=2, max_tries=1)])
    monitor.post([task_event("success", "mapped", map_index=7), run_event("failed")])
    page = monitor.client.get("/runs/local/etl/manual__1").text
    for word in ("no such column", "Traceback\n  File x", "try 2 of 2", "mapped[7]", "ops@example.com"):
        assert word in page
    assert monitor.client.get("/runs/other/etl/manual__1").status_code == 404


def test_the_list_of_events_is_filtered_and_paged(monitor: Served) -> None:
    monitor.post([run_event(dag_id=f"dag_{number}", run_id=str(number)) for number in range(60)])
    first = monitor.client.get("/events/list?type=&dag_id=&state=success")
    assert first.status_code == 200
    assert "dag_59" in first.text
    assert "dag_9<" not in first.text
    (link,) = re.findall(r'href="(/events/list\?[^"]+)"', first.text.replace("&amp;", "&"))
    older = monitor.client.get(link).text
    assert "dag_9<" in older
    assert "dag_59" not in older
    assert "No event matches" in monitor.client.get("/events/list?dag_id=none").text


def letter(monitor: Served, html: str | None, text: str | None = "text") -> str:
    made = EmailMessage(policy=SMTP)
    made["Subject"], made["From"], made["To"] = "A letter", "a@example.com", "b@example.com"
    if text is not None:
        made.set_content(text)
    if html is not None:
        made.add_alternative(html, subtype="html")
    return str(monitor.app.state.services.mailbox.file(made.as_bytes(), ["b@example.com"]))


def test_a_letters_html_is_shown_in_a_sandbox(monitor: Served) -> None:
    html = f"<style>p {{ color: red }}</style><p>{ATTACK}</p>"
    letter_id = letter(monitor, html)
    page = monitor.client.get(f"/mail/{letter_id}")
    (frame,) = Elements(page.text).of("iframe")
    assert frame["sandbox"] == ""
    assert MARK not in page.text
    answer = monitor.client.get(f"/mail/{letter_id}/html")
    assert MARK in answer.text
    policy = answer.headers["content-security-policy"].split("; ")
    assert "sandbox" in policy
    assert "default-src 'none'" in policy
    assert not any(part.startswith("script-src") for part in policy)
    assert "frame-ancestors 'self'" in policy


def test_a_long_letter_is_cut(monitor: Served) -> None:
    letter_id = letter(monitor, f"<p>{'h' * MAX_SHOWN_HTML}</p>", "t" * 2 * MAX_SHOWN_TEXT)
    page = monitor.client.get(f"/mail/{letter_id}").text
    assert "t" * (MAX_SHOWN_TEXT - 1) + "…" in page
    html = monitor.client.get(f"/mail/{letter_id}/html").text
    assert len(html) == MAX_SHOWN_HTML
    assert html.endswith("h…")


def test_letters_that_are_hard_to_read(monitor: Served) -> None:
    plain = letter(monitor, None)
    assert monitor.client.get(f"/mail/{plain}/html").status_code == 404
    box = monitor.app.state.services.mailbox
    strange = box.file(
        b"Subject: =?utf-8?b?////?=\r\nContent-Type: text/plain; charset=nonsense\r\n\r\n\xff\xfe body", ["x"]
    )
    assert "body" in monitor.client.get(f"/mail/{strange}").text
    nothing = box.file(b"\r\n", ["x"])
    assert monitor.client.get(f"/mail/{nothing}").status_code == 200
    assert monitor.client.get("/mail").status_code == 200
    for unknown in ("nothing", "..%2F..%2Fwindsock.db", "%00"):
        assert monitor.client.get(f"/mail/{unknown}").status_code == 404


def test_sending_again_from_the_page(monitor: Served) -> None:
    monitor.post([run_event("failed")])
    mailbox = monitor.app.state.services.mailbox
    wait.until(lambda: len(mailbox.mails(10)) == 1, "the mail")
    wait.until(lambda: "sent" in monitor.client.get("/deliveries/1").text, "the mail to be settled")
    answer = monitor.client.post("/deliveries/1/resend")
    assert (answer.status_code, answer.headers["location"]) == (303, "/deliveries/1")
    wait.until(lambda: len(mailbox.mails(10)) == 2, "the second mail")


def test_errors_are_pages_for_people(monitor: Served) -> None:
    answer = monitor.client.get("/nowhere")
    assert answer.status_code == 404
    assert "Open Now" in answer.text
    assert 'aria-label="Pages"' in answer.text
    assert "Check the address" in answer.text
    assert monitor.client.get("/nowhere", headers={"Accept": "*/*"}).json()["status"] == 404


def test_files_are_kept_by_browsers_for_as_long_as_they_are_the_same(settings: Settings) -> None:
    with serving(settings) as monitor:
        page = monitor.client.get("/runs").text
        (script,) = re.findall(r'src="(/static/[0-9a-f]{16}/page\.js)"', page)
        kept = monitor.client.get(script)
        assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
        other = "/".join(["/static", "0" * 16, "page.js"])  # a replica of another release wrote the page
        for path in ("/static/page.js", other):
            asked = monitor.client.get(path)
            assert (asked.status_code, asked.headers["cache-control"]) == (200, "no-cache")
            assert asked.text == kept.text
        again = monitor.client.get("/static/page.js", headers={"If-None-Match": kept.headers["etag"]})
        assert again.status_code == 304
        assert monitor.client.get("/static/../../base.html").status_code == 404
        assert monitor.client.get(f"/static/{'0' * 16}/nothing.js").headers["cache-control"] == "no-store"


def test_every_page_is_compiled_before_anybody_asks_for_it() -> None:
    pages = {path.name for path in TEMPLATES.glob("*.html")}
    assert len(pages) > 20
    assert pages <= set(load_templates(""))


@pytest.mark.parametrize("golden", sorted(CONTRACT.glob("*.json")), ids=lambda path: path.stem)
def test_an_event_of_each_type_has_its_line(golden: Path) -> None:
    event = json.loads(golden.read_text())["event"]
    line = EventLine.read(1, {**event, "time": event["time"] or moment()})
    error = event["data"].get("error")
    if error:
        assert (error if isinstance(error, str) else error["message"]) in line.detail
