"""Times on pages: one zone, named on the page, of the reader's choice; by 24 hours."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from monitor.settings import Settings
from tests.browser import world
from tests.browser.conftest import DEADLINE_MS, Shot
from tests.sample import run_event
from tests.unit.web_support import Served, serving

RULES = "timezone: America/New_York\nreceivers: {}\nrules: []\n"
EVENT = "/events/list"


@pytest.fixture
def monitor(settings: Settings) -> Iterator[Served]:
    settings.rules_file.write_text(RULES, encoding="utf-8")
    with serving(settings) as monitor:
        monitor.post(
            [run_event("failed", start_date="2020-07-01T21:30:05Z", end_date="2020-07-01T22:30:05Z")]
        )
        yield monitor


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Of a reader in Berlin whose language has a clock of 12 hours."""
    context = browser.new_context(timezone_id="Europe/Berlin", locale="en-US")
    context.set_default_timeout(DEADLINE_MS)
    yield context.new_page()
    context.close()


def test_times_are_in_the_readers_zone_which_the_page_names(monitor: Served, page: Page, shot: Shot) -> None:
    world.fill(monitor)
    page.goto(f"{monitor.url}/runs?dag_id=etl&since=2020-01-01T00:00:00Z&until=2021-01-01T00:00:00Z")
    zone = page.get_by_label("Time zone")
    expect(zone.locator("option")).to_have_text(["Europe/Berlin (local)", "UTC", "America/New_York (mails)"])
    expect(zone).to_have_value("local")
    time = page.locator("#runs .when time").first
    expect(time).to_have_text("Jul 1, 2020, 23:30:05")
    expect(time).to_have_attribute("title", "2020-07-01T23:30:05+02:00 (Europe/Berlin)")
    expect(page.locator("#runs .when").first).to_have_text(
        re.compile(r"started Jul 1, 2020, 23:30:05\s*\d+ d agotook 1 h")
    )
    shot(page, "times")


def test_the_chosen_zone_is_kept_on_every_page(monitor: Served, page: Page) -> None:
    page.goto(f"{monitor.url}/runs")
    page.get_by_label("Time zone").select_option("rules")
    time = page.locator("#runs .when time").first
    expect(time).to_have_text("Jul 1, 2020, 17:30:05")
    page.goto(f"{monitor.url}/")
    expect(page.get_by_label("Time zone")).to_have_value("rules")
    page.get_by_label("Time zone").select_option("utc")
    page.goto(f"{monitor.url}/runs")
    expect(time).to_have_attribute("title", "2020-07-01T21:30:05+00:00 (UTC)")


def test_a_filter_takes_moments_in_the_pages_zone_and_its_address_has_utc(
    monitor: Served, page: Page
) -> None:
    page.goto(f"{monitor.url}/runs")
    page.get_by_text("Filter", exact=True).click()
    page.get_by_label("Started since (Europe/Berlin)").fill("2020-07-01T23:00")
    page.get_by_role("button", name="Search").click()
    expect(page).to_have_url(re.compile("since=2020-07-01T21%3A00%3A00.000Z"))
    expect(page.get_by_label("Started since (Europe/Berlin)")).to_have_value("2020-07-01T23:00")
    page.get_by_label("Time zone").select_option("rules")
    expect(page.get_by_label("Started since (America/New_York)")).to_have_value("2020-07-01T17:00")


def test_without_scripts_times_are_in_utc_and_the_page_says_so(monitor: Served, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False, timezone_id="Europe/Berlin")
    page = context.new_page()
    page.goto(f"{monitor.url}/runs")
    expect(page.locator("header .zone")).to_have_text("Times are in UTC")
    expect(page.locator("#runs .when time").first).to_have_text("2020-07-01 21:30:05 UTC")
    context.close()
