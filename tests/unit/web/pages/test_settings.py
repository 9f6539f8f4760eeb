"""The rules and the templates as people see them: in words, without secrets, and what is wrong with them."""

import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path

import httpx
import pytest

from monitor.delivery.messages.renderer import Renderer
from monitor.rules.model import Match
from monitor.settings import Settings
from monitor.web import rule_descriptions
from monitor.web.pages.settings import redact_line as without_secrets
from tests.unit.conftest import FakeClock
from tests.unit.web.pages.test_incidents import sign_in
from tests.unit.web.pages.test_pages import Elements
from tests.unit.web_support import MONITOR_USER, Served, SignInAirflow, serving, with_sign_in

SECRET = "whsec_" + "QUJD" * 8
FILE = f"""
timezone: Europe/Zurich
receivers:
  data-team:
    email: [data@example.com]
    apprise: ["slack://tokenA/tokenB/tokenC", "json://user:hunter2@hooks.example/x"]
    webhook:
      - url: https://user:hunter2@hooks.example/services/T000/secretpath
        secret: {SECRET}
quiet_hours:
  night: {{start: "22:00", end: "07:00", days: [mon, tue]}}
rules:
  - name: nightly failures
    match: {{type: airflow.dag_run.*, dag_id: [etl, "load_*"], none_of: [{{tags: experiment}}]}}
    notify_on: [first_failure, recovered]
    to: [data-team]
    quiet_hours: [night]
    repeat: 4h
    last: true
watches:
  - {{name: late etl, watch: late, dag_id: etl, after: 30m}}
"""
HIDDEN = ("tokenA", "hunter2", "secretpath", SECRET)


@pytest.fixture
def monitor(settings: Settings, clock: FakeClock) -> Iterator[Served]:
    with serving(settings, clock) as monitor:
        yield monitor


def rewrite(monitor: Served, text: str) -> None:
    """Change the rules file and have it read."""
    rules = monitor.app.state.services.rules
    rules.path.write_text(text)
    rules.look()
    rules.look()  # a file that is being written is left alone: two looks have to find the same


def shown(monitor: Served, path: str = "/settings") -> str:
    return unescape(monitor.client.get(path).text)


def test_the_rules_that_are_built_in(monitor: Served) -> None:
    page = shown(monitor)
    assert "The built-in ones" in page
    for words in ("failures", "type airflow.dag_run.failed or airflow.dag_run.success", "ops@example.com"):
        assert words in page


def test_the_rules_in_words_and_no_secret(monitor: Served) -> None:
    rewrite(monitor, FILE)
    page = shown(monitor)
    for words in (
        "nightly failures",
        "type airflow.dag_run.*, and DAG etl or load_*, and not (tag experiment)",
        "the first failure, and then follow-ups, recoveries",
        "data-team, whom the DAG names in its tags and owners",
        "every 4h, until it is acknowledged or resolved",
        "rules below are not evaluated",
        "data@example.com",
        "slack, json",
        "https://hooks.example/…",
        "22:00 to 07:00 (Europe/Zurich)",
        "a run that begins later than it should",
        "30m",
    ):
        assert words in page, words
    assert [secret for secret in HIDDEN if secret in page] == []


def test_a_broken_file_is_shown_at_its_line(monitor: Served) -> None:
    rewrite(monitor, FILE)
    rewrite(monitor, FILE.replace("to: [data-team]", "to: [date-team]  # <b>0wned</b>"))
    page = monitor.client.get("/settings").text
    number = FILE.splitlines().index("    to: [data-team]") + 1
    assert f"Line {number}:" in page
    assert "to: [date-team]" in page
    assert "<b>0wned" not in page
    assert "nightly failures" in page  # the rules before it are in force
    assert "The rules file is broken" in monitor.client.get("/").text
    rewrite(monitor, FILE)
    assert "The rules file is broken" not in monitor.client.get("/").text


@pytest.mark.parametrize(
    "broken",
    [
        FILE.replace("timezone: Europe/Zurich", "timezone: [Europe/Zurich"),
        FILE.replace(f"secret: {SECRET}", f"secrets: {SECRET}"),
        FILE.replace(f"secret: {SECRET}", f"secret: '{SECRET}"),
        FILE.replace("webhook:", "webhok:"),
        FILE.replace("https://user", "ftp://user"),
        FILE.replace('"slack://tokenA/tokenB/tokenC"', "tokenA: tokenB"),
        FILE.replace('["slack://tokenA/tokenB/tokenC"', "[\n    {tokenA: x}\n    "),
        FILE.replace(f"secret: {SECRET}", "secret: hunter2"),
        FILE.replace("    apprise:", "   apprise:"),
        FILE.replace("apprise: [", "apprise: {"),
        FILE + "\nreceivers: {}",
    ],
)
def test_a_broken_file_shows_no_secret(monitor: Served, broken: str) -> None:
    rewrite(monitor, FILE)
    rewrite(monitor, broken)
    page = shown(monitor)
    assert "cannot be used" in page
    assert [secret for secret in HIDDEN if secret in page] == []


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("    secret: abc", "    secret: …"),
        ("  'password' : abc def", "  'password' : …"),
        ("secret: ${HOOK_SECRET}", "secret: ${HOOK_SECRET}"),
        ("secret: ${HOOK_SECRET}abc", "secret: …"),
        ("- slack://a/b/c", "- slack://…"),
        ("- {url: https://u:p@h/x, secret: s}", "- {url: https://…, secret: …"),
        (f"x {SECRET}", "x whsec_…"),
        ("apprise: T1JJ3T3L2/A1BRTD4JD", "apprise: …"),
        ("  to: [ops@example.com]", "  to: [ops@example.com]"),
        ("  wait: 30s", "  wait: 30s"),
    ],
)
def test_what_is_hidden_of_a_line(line: str, seen: str) -> None:
    assert without_secrets(line) == seen


def test_a_match_in_words() -> None:
    one = {"deployment": "local", "any_of": [{"tags": "a"}, {"owners": ["b", "c"]}], "attempt": 2}
    words = rule_descriptions.match(Match.model_validate(one))
    assert words == "Airflow local, and try 2, and (tag a) or (owner b or c)"
    assert rule_descriptions.match(Match()) == "everything"


def test_who_has_unsubscribed_is_listed(monitor: Served) -> None:
    made = monitor.app.state.services.links
    path = made.unsubscribe("jane@example.com", "failures").removeprefix(monitor.settings.url)
    monitor.client.post(path, data={"List-Unsubscribe": "One-Click"})
    assert "jane@example.com" in shown(monitor)


def test_every_template_is_shown(monitor: Served) -> None:
    page = monitor.client.get("/templates").text
    names = re.findall(r'href="/templates/(\w+)"', page)
    assert {"run_failed", "recovered", "run_success"} <= set(names)
    for name in names:
        one = monitor.client.get(f"/templates/{name}")
        assert one.status_code == 200, name
        (frame,) = Elements(one.text).of("iframe")
        assert (frame["sandbox"], frame["src"]) == ("", f"/templates/{name}/html")
        html = monitor.client.get(f"/templates/{name}/html")
        assert html.status_code == 200
        policy = html.headers["content-security-policy"]
        assert policy.startswith("sandbox; default-src 'none'")
        assert "script-src" not in policy
        assert html.headers["x-frame-options"] == "SAMEORIGIN"
    for unknown in ("nothing", "..%2Fweb%2Fbase", "%00"):
        assert monitor.client.get(f"/templates/{unknown}").status_code == 404
        assert monitor.client.get(f"/templates/{unknown}/html").status_code == 404


def test_a_template_of_ones_own_and_a_broken_one(monitor: Served, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "recovered.txt.j2").write_text("{% block subject %}mine{% endblock %}My own words")
    (folder / "recovered.html.j2").write_text("<p>My own words</p>")
    (folder / "digest.txt.j2").write_text("{% block subject %}x{% endblock %}{{ nothing.of.this }}")
    (folder / "digest.html.j2").write_text("{{ 7 * 191 }}{% if %}")
    services = monitor.app.state.services
    own = Renderer("windsock@localhost", monitor.url, {}, services.clock, overrides=folder)
    monitor.app.state.services = replace(services, renderer=own)
    page = monitor.client.get("/templates").text
    assert ("overridden" in page, "broken" in page) == (True, True)
    assert "My own words" in monitor.client.get("/templates/recovered").text
    assert "My own words" in monitor.client.get("/templates/recovered/html").text
    broken = monitor.client.get("/templates/digest")
    assert broken.status_code == 200
    assert 'role="alert"' in broken.text
    assert "1337" not in monitor.client.get("/templates/digest/html").text


def test_rules_are_for_those_who_read_every_dag(settings: Settings) -> None:
    with SignInAirflow().serving() as airflow:
        airflow.dags[MONITOR_USER[0]] = ["etl", "payroll"]
        airflow.add("alice", "alice's secret", ["etl"])
        airflow.add("chief", "chief's secret", ["etl", "payroll"])
        with serving(with_sign_in(settings, airflow)) as monitor:
            headers = {"Accept": "text/html"}
            with httpx.Client(base_url=monitor.url, headers=headers) as browser:
                for user, status in (("alice", 403), ("chief", 200)):
                    sign_in(browser, user)
                    answer = browser.get("/settings")
                    assert answer.status_code == status
                    assert ("ops@example.com" in answer.text) is (status == 200)
                    assert browser.get("/templates").status_code == 200


def test_a_file_that_vanished_is_said_so(monitor: Served) -> None:
    rewrite(monitor, FILE.replace("to:", "too:"))
    path: Path = monitor.app.state.services.rules.path
    path.unlink()
    page = shown(monitor)
    assert "cannot be used" in page
    assert "too" in page
