"""Notifications by the browser: turned on by a button, of incidents that the reader may see alone."""

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from monitor.settings import Settings
from tests.browser import world
from tests.browser.test_dashboard import live, row
from tests.unit.web_support import Served, SignInAirflow, serving, with_sign_in

RECORD = """
window.shown = [];
window.Notification = class extends Notification {
    constructor(title, options) {
        super(title, options);
        window.shown.push([title, options.body]);
        window.latest = this;
    }
};
document.hasFocus = () => false;
"""
CONFIRMED = "Windsock notifies you here"


@pytest.fixture
def page(context: BrowserContext, page: Page) -> Page:
    context.grant_permissions(["notifications"])
    page.add_init_script(RECORD)
    return page


def turn_on(page: Page, url: str) -> None:
    page.goto(url)
    live(page)
    page.get_by_role("button", name="Notify me in this browser").click()
    expect(page.get_by_role("button", name="Stop notifying me in this browser")).to_be_visible()
    assert [title for title, _ in page.evaluate("shown")] == [CONFIRMED]


def fail(monitor: Served, dag_id: str) -> None:
    assert monitor.post(list(world.failing(dag_id, "1", 300))).json()["rejected"] == 0


def wait_for(page: Page, number: int) -> list[str]:
    page.wait_for_function("number => shown.length >= number", arg=number)
    return [title for title, _ in page.evaluate("shown")]


def test_an_incident_is_notified_and_the_click_leads_to_it(settings: Settings, page: Page) -> None:
    with serving(settings) as monitor:
        fail(monitor, "before")
        turn_on(page, monitor.url)
        page.goto(f"{monitor.url}/runs")  # the choice holds for each page of this browser
        live(page)
        fail(monitor, "etl")
        assert wait_for(page, 1) == ["etl fails"]
        page.evaluate("latest.dispatchEvent(new Event('click'))")
        expect(page).to_have_url(f"{monitor.url}/incidents/2")
        live(page)
        fail(monitor, "etl")  # the incident goes on: nothing is new
        fail(monitor, "next")
        assert wait_for(page, 1) == ["next fails"]


def test_nothing_is_notified_without_being_asked_for(settings: Settings, page: Page) -> None:
    with serving(settings) as monitor:
        turn_on(page, f"{monitor.url}/incidents")
        page.get_by_role("button", name="Stop notifying me in this browser").click()
        expect(page.get_by_role("button", name="Notify me in this browser")).to_be_visible()
        fail(monitor, "etl")
        row(page, "#open", "etl fails")
        page.get_by_role("button", name="Notify me in this browser").click()
        assert wait_for(page, 2) == [CONFIRMED, CONFIRMED]


def test_many_at_once_are_one_notification_and_what_is_silenced_is_none(
    settings: Settings, page: Page
) -> None:
    with serving(settings) as monitor:
        monitor.client.post("/silences", data={"dag_id": "quiet", "until": "1h", "reason": "it is moved"})
        turn_on(page, monitor.url)
        page.goto("about:blank")
        for dag_id in ("one", "two", "three", "four", "quiet"):
            fail(monitor, dag_id)
        page.goto(monitor.url)
        assert wait_for(page, 1) == ["4 incidents opened"]


def test_a_reader_is_notified_of_own_dags_alone(settings: Settings, page: Page) -> None:
    with SignInAirflow().serving() as airflow:
        airflow.add("alice", "secret", ["etl", "next"])
        with serving(with_sign_in(settings, airflow)) as monitor:
            page.goto(monitor.url)
            page.get_by_label("Name").fill("alice")
            page.get_by_label("Password").fill("secret")
            page.get_by_label("Password").press("Enter")
            turn_on(page, monitor.url)
            for dag_id in ("hidden", "etl"):
                fail(monitor, dag_id)
            assert wait_for(page, 2) == [CONFIRMED, "etl fails"]
            fail(monitor, "next")
            assert wait_for(page, 3) == [CONFIRMED, "etl fails", "next fails"]


def test_a_browser_that_blocks_them_says_so(settings: Settings, page: Page) -> None:
    page.add_init_script("Object.defineProperty(Notification, 'permission', { get: () => 'denied' })")
    with serving(settings) as monitor:
        page.goto(monitor.url)
        expect(page.get_by_role("button", name="Notifications are blocked in this browser")).to_be_disabled()
