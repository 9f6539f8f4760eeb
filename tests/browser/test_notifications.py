"""Incidents, silences, rules and links in a browser: by hand and by keyboard, each width, light and dark."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from monitor.settings import Settings
from tests.browser.conftest import Shot
from tests.browser.test_dashboard import assert_not_reloaded, live, mark, row
from tests.sample import run_event, task_event
from tests.unit.web.pages.test_settings import FILE, rewrite
from tests.unit.web_support import Served, serving


@pytest.fixture
def monitor(settings: Settings) -> Iterator[Served]:
    with serving(settings) as monitor:
        yield monitor


def fail(monitor: Served, dag_id: str, run_id: str, start: float = 0) -> None:
    error = {"type": "ValueError", "message": "column 'target' is missing"}
    monitor.post([task_event("failed", "extract", dag_id, run_id, error=error)])
    monitor.post([run_event("failed", dag_id, run_id, start=start, message="task_failure")])


def test_an_incident_is_acknowledged(monitor: Served, page: Page, shot: Shot) -> None:
    page.goto(f"{monitor.url}/incidents")
    live(page)
    expect(page.locator("#open")).to_contain_text("No incident is open")
    mark(page)
    fail(monitor, "nightly", "scheduled__1")
    row(page, "#open", "open.*nightly fails.*ValueError: column 'target' is missing.*task extract.*1 failure")
    fail(monitor, "reports", "scheduled__1")
    monitor.post([run_event("success", "reports", "scheduled__2", start=60)])
    row(page, "#ended", "resolved.*reports fails")
    assert_not_reloaded(page)
    page.get_by_role("link", name="Acknowledge nightly fails").click()
    expect(page.get_by_role("heading", name="nightly fails")).to_be_visible()
    row(page, "#timeline", "sent.*First notification.*ops@example.com by email")
    page.get_by_label("Reason", exact=True).fill("a ticket is open")
    page.get_by_label("Reason", exact=True).press("Enter")
    expect(page.locator("#summary")).to_contain_text("Acknowledged by local")
    mark(page)
    live(page)
    fail(monitor, "nightly", "scheduled__2", start=120)
    row(page, "#timeline", "scheduled__2.*suppressed.*acknowledged by local")
    assert_not_reloaded(page)
    shot(page, "incident")
    page.get_by_role("button", name="Take the acknowledgement back").click()
    expect(page.get_by_role("button", name="Acknowledge")).to_be_visible()
    shot(page, "incident-open")
    page.goto(f"{monitor.url}/incidents")
    shot(page, "incidents")


def test_an_incident_is_taken_over_acknowledged_for_an_hour_and_found_again(
    monitor: Served, page: Page, shot: Shot
) -> None:
    fail(monitor, "nightly", "scheduled__1")
    fail(monitor, "reports", "scheduled__1", start=60)
    page.goto(f"{monitor.url}/incidents/1")
    page.get_by_role("button", name="Take over").click()
    expect(page.locator("#summary")).to_contain_text("Taken over by local")
    page.get_by_label("Reason", exact=True).fill("a ticket is open")
    page.get_by_label("For how long").select_option("1 hour")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("#summary")).to_contain_text(
        re.compile("Acknowledged by local until .*: a ticket is open")
    )
    row(page, "#timeline", "acknowledged.*Acknowledged by local until.*a ticket is open")
    row(page, "#timeline", "taken over.*Taken over by local")
    page.goto(f"{monitor.url}/incidents")
    page.locator("summary", has_text="Filter").click()
    page.get_by_label("Taken over by").fill("local")
    page.get_by_label("acknowledged", exact=True).check()
    page.get_by_role("button", name="Search").click()
    row(page, "#matching", "acknowledged.*nightly fails.*Taken over by local")
    expect(page.locator("#matching .row")).to_have_count(1)
    shot(page, "incidents-filtered")
    page.get_by_role("link", name="Clear").click()
    page.get_by_label("Search").fill("REPORTS")
    page.get_by_label("Search").press("Enter")
    row(page, "#matching", "open.*reports fails")


def test_a_silence_is_made_and_ended(monitor: Served, page: Page, shot: Shot) -> None:
    fail(monitor, "nightly", "scheduled__1")
    page.goto(f"{monitor.url}/incidents")
    page.get_by_role("link", name="Silence nightly fails").click()
    expect(page.get_by_label("DAG")).to_have_value("nightly")
    expect(page.locator("main")).to_contain_text("It would have covered 2 events")
    page.get_by_label("Task").fill("extract, load")
    page.get_by_role("button", name="What would it cover?").click()
    expect(page.locator("main")).to_contain_text("It would have covered 1 event")
    page.get_by_label("Task").fill("")
    page.get_by_label("8 hours").check()
    page.get_by_role("button", name="Silence").click()
    expect(page.get_by_role("alert")).to_contain_text("reason: is empty")
    expect(page.get_by_label("8 hours")).to_be_checked()
    shot(page, "silence-new")
    page.get_by_label("Reason").fill("the source is down until the weekend")
    page.get_by_role("button", name="Silence").click()
    row(page, "#active", "active.*Airflow local, and DAG nightly.*local: the source is down")
    fail(monitor, "nightly", "scheduled__2", start=60)
    page.goto(monitor.url)
    row(page, "#quiet", "silenced.*Airflow local, and DAG nightly.*the source is down.*until")
    expect(page.locator("#attention")).to_contain_text("nightly fails")
    shot(page, "dashboard-notices")
    page.goto(f"{monitor.url}/silences")
    shot(page, "silences")
    page.get_by_role("button", name=re.compile("End it")).click()
    expect(page.locator("#active")).to_contain_text("Nothing is silenced")
    row(page, "#others", "expired.*ended early by local")


def test_a_broken_rules_file_is_shown_at_its_line(monitor: Served, page: Page, shot: Shot) -> None:
    rewrite(monitor, FILE)
    page.goto(f"{monitor.url}/settings")
    live(page)
    row(page, "#rules", "nightly failures.*DAG etl or load_")
    shot(page, "settings")
    mark(page)
    rewrite(monitor, FILE.replace("to: [data-team]", "to: [date-team, ops]"))
    expect(page.get_by_role("alert")).to_contain_text("to: [date-team, ops]")
    assert_not_reloaded(page)
    shot(page, "settings-broken")
    page.goto(monitor.url)
    expect(page.locator("#notices")).to_contain_text("The rules file is broken")
    page.goto(f"{monitor.url}/settings")
    live(page)
    rewrite(monitor, FILE)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_links_of_a_mail(monitor: Served, page: Page, shot: Shot) -> None:
    fail(monitor, "nightly", "scheduled__1")
    made = monitor.app.state.services.links

    def opened(url: str) -> None:
        page.goto(url.replace(monitor.settings.url, monitor.url))

    opened(made.silence("local", "nightly"))
    expect(page.get_by_role("heading", name="Silence the DAG nightly")).to_be_visible()
    page.get_by_label(re.compile("until tomorrow")).check()
    page.get_by_label("Reason").fill("the source is down")
    page.get_by_label("Your name").fill("Jane")
    page.get_by_label("Your name").press("Enter")
    expect(page.locator("main")).to_contain_text("Jane (link in a mail): the source is down")
    shot(page, "link-silence")
    page.get_by_role("button", name="End it").click()
    expect(page.get_by_role("button", name="Silence it")).to_be_visible()
    opened(made.acknowledge(1))
    shot(page, "link-acknowledge")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_role("button", name="Take it back")).to_be_visible()
    opened(made.unsubscribe("jane.doe@example.com", "failures"))
    shot(page, "link-unsubscribe")
    page.get_by_role("button", name="Unsubscribe").click()
    expect(page.get_by_role("heading", name="Unsubscribed")).to_be_visible()
    page.get_by_role("button", name="Send it again").click()
    expect(page.get_by_role("heading", name="Unsubscribe", exact=True)).to_be_visible()
    page.goto(f"{monitor.url}/links/silence/nonsense")
    expect(page.get_by_role("heading", name="This link does not work")).to_be_visible()
    shot(page, "link-refused")


def test_the_ledger_is_filtered(monitor: Served, page: Page, shot: Shot) -> None:
    fail(monitor, "nightly", "scheduled__1")
    fail(monitor, "reports", "scheduled__1")
    page.goto(f"{monitor.url}/mail")
    row(page, "#mails", "sent.*nightly")
    page.get_by_text("Filter", exact=True).first.click()
    page.get_by_label("DAG").fill("reports")
    page.get_by_label("Kind").select_option("opened")
    page.get_by_label("DAG").press("Enter")
    expect(page.locator("#mails > li")).to_have_count(1)
    row(page, "#mails", "reports")
    shot(page, "deliveries-filtered")
    page.locator("#mails a").first.click()
    expect(page.get_by_role("heading", name="What it reports, and why")).to_be_visible()
    expect(page.frame_locator("iframe.letter").locator("body")).to_contain_text("reports")
    shot(page, "delivery-told")
    page.get_by_role("button", name="Send again").click()
    row(page, "#ledger", "requeued.*was sent")
    expect(page.locator("#ledger > li")).to_have_count(3)  # and what came of it, without a reload
    expect(page.locator("#became")).to_have_text("Reason: sent")


def test_the_templates(monitor: Served, page: Page, shot: Shot) -> None:
    page.goto(f"{monitor.url}/templates")
    shot(page, "templates")
    page.get_by_role("link", name="run failed", exact=True).click()
    expect(page.frame_locator("iframe.letter").locator("body")).not_to_be_empty()
    shot(page, "template")
