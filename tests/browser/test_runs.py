"""Looking for runs, and one run's page while it goes on."""

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from pydantic import SecretStr

from monitor.clock import utc_now
from monitor.settings import Settings
from tests import wait
from tests.browser import world
from tests.browser.conftest import Shot
from tests.browser.test_dashboard import assert_not_reloaded, live, mark, row
from tests.unit.airflow_api_fake import PASSWORD, USERNAME, FakeAirflow, run_row
from tests.unit.airflow_api_fake import serving as serving_airflow
from tests.unit.conftest import FakeClock
from tests.unit.web_support import Served, serving

LAB = "manual__2026-11-25T04:10:00+00:00"
LAB_PAGE = "/runs/local/Airflow_Lab2/manual__2026-11-25T04%3A10%3A00%2B00%3A00"
NIGHTLY_PAGE = "/runs/local/nightly/scheduled__2026-11-25T02%3A00%3A00%2B00%3A00"


@pytest.fixture
def monitor(settings: Settings) -> Iterator[Served]:
    with serving(settings) as monitor:
        yield monitor


def test_runs_are_looked_for_and_found_again(monitor: Served, page: Page, shot: Shot) -> None:
    world.fill(monitor)
    page.goto(f"{monitor.url}/runs")
    live(page)
    shot(page, "runs")
    page.keyboard.press("/")
    page.keyboard.type("lab2")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("search=lab2"))
    expect(page.locator("#runs > li")).to_have_count(2)
    page.get_by_text("Filter", exact=True).click()
    page.get_by_role("checkbox", name="success").check()
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#runs > li")).to_have_count(1)
    expect(page.get_by_role("checkbox", name="success")).to_be_checked()
    shot(page, "runs-filtered")
    page.go_back()
    expect(page.locator("#runs > li")).to_have_count(2)
    expect(page.get_by_label("Search")).to_have_value("lab2")
    page.go_forward()
    expect(page.locator("#runs > li")).to_have_count(1)


def test_a_run_that_does_not_match_any_more_leaves_the_list(monitor: Served, page: Page) -> None:
    monitor.post([world.run_of("running", "etl", f"run {number}", 300 - number) for number in range(3)])
    page.goto(f"{monitor.url}/runs?state=running&dag_id=etl*")
    live(page)
    mark(page)
    expect(page.locator("#runs > li")).to_have_count(3)
    monitor.post([world.run_of("success", "etl", "run 1", 299, 10)])
    expect(page.locator("#runs > li")).to_have_count(2)
    monitor.post([world.run_of("running", "etl", "run 9", 5), world.run_of("running", "other", "run 10", 5)])
    row(page, "#runs", "running.*run 9")
    expect(page.locator("#runs")).not_to_contain_text("run 10")
    assert_not_reloaded(page)


def test_a_timeline_moves_while_the_run_goes_on(monitor: Served, page: Page, shot: Shot) -> None:
    monitor.post(list(world.in_progress("Airflow_Lab2", LAB)))
    page.goto(monitor.url + LAB_PAGE)
    live(page)
    mark(page)
    line = page.locator("#tasks .line", has_text="build_model")
    bar = line.locator("rect.bar")
    width = bar.get_attribute("width")
    wait.until(lambda: bar.get_attribute("width") != width, "the bar to grow")
    expect(line.get_by_role("cell").nth(1)).to_contain_text("try 1: running")
    expect(page.get_by_role("table", name="The tasks of this run by time")).to_be_visible()
    expect(page.get_by_role("columnheader")).to_have_text(
        ["Task", re.compile("Timeline"), "Took", "What was said"]
    )
    places = [cell.bounding_box() for cell in line.get_by_role("cell").all()[:3]]
    lefts = [place["x"] for place in places if place]
    assert lefts == sorted(lefts), "the task, its bars, how long it took: from left to right"
    shot(page, "run-in-progress")
    monitor.post([world.task_of("success", world.TASKS[4], "Airflow_Lab2", LAB, 30, 12)])
    expect(line).to_contain_text("success")
    expect(bar).to_have_attribute("data-to", re.compile(r"\d"))
    monitor.post([world.run_of("success", "Airflow_Lab2", LAB, 95, 90)])
    expect(page.locator("#summary")).to_contain_text("success")
    expect(page).to_have_title("Airflow_Lab2 success · Windsock")
    assert_not_reloaded(page)


def test_a_failed_run_tells_each_try(monitor: Served, page: Page, shot: Shot) -> None:
    world.fill(monitor)
    page.goto(monitor.url + NIGHTLY_PAGE)
    live(page)
    line = page.locator("#tasks .line", has_text="train")
    expect(line.locator("rect.bar")).to_have_count(2)
    page.get_by_text("1 earlier try").click()
    expect(line.locator(".tries")).to_contain_text("try 1")
    row(page, "#mails", "sent.*nightly · train")
    page.get_by_role("link", name="nightly fails").click()
    expect(page.get_by_role("heading", name="nightly fails")).to_be_visible()
    page.go_back()
    shot(page, "run-failed")
    page.locator("#mails a").first.click()
    expect(page.get_by_role("heading", name="What it reports, and why")).to_be_visible()


def test_a_log_and_what_airflow_knows_are_fetched_when_wanted(
    settings: Settings, page: Page, shot: Shot
) -> None:
    airflow = FakeAirflow(FakeClock(utc_now()))
    airflow.log = "\n".join(json.dumps({"event": f"line {n}", "level": "info"}) for n in range(150))
    airflow.runs.append(
        run_row("manual__7", utc_now(), "failed") | {"dag_id": "Airflow_Lab2", "conf": {"day": "Monday"}}
    )
    with serving_airflow(airflow) as airflow:
        known = {"airflow_url": airflow.url, "airflow_username": USERNAME, "reconcile_interval": 3600}
        with serving(
            settings.model_copy(update={**known, "airflow_password": SecretStr(PASSWORD)})
        ) as monitor:
            monitor.post(list(world.in_progress("Airflow_Lab2", "manual__7")))
            page.goto(monitor.url + "/runs/local/Airflow_Lab2/manual__7")
            live(page)
            assert airflow.requests("/logs/") == []
            line = page.locator("#tasks .line", has_text="build_model")
            line.locator("summary", has_text="Log").click()
            expect(line.locator("pre.log")).to_contain_text("line 149")
            expect(line.locator("pre.log")).not_to_contain_text("line 49\n")
            monitor.post([world.task_of("success", world.TASKS[4], "Airflow_Lab2", "manual__7", 30, 12)])
            expect(line).to_contain_text("success")
            expect(line.locator("pre.log")).to_contain_text("line 149")  # it stays open, and is what it was
            page.locator("#details-title").scroll_into_view_if_needed()
            expect(page.locator("section", has=page.locator("#details-title"))).to_contain_text("Monday")
            shot(page, "run-log")
            airflow.failures = []
        line.locator("summary", has_text="Log").click()
        line.locator("summary", has_text="Log").click()
        expect(line).to_contain_text("The server cannot be reached")


def test_pages_work_without_a_script(monitor: Served, page: Page) -> None:
    world.fill(monitor)
    browser = page.context.browser
    assert browser is not None
    plain = browser.new_context(java_script_enabled=False)
    bare = plain.new_page()
    bare.goto(f"{monitor.url}/runs?limit=3")
    bare.get_by_role("link", name="Older runs").click()
    expect(bare.locator("#runs > li")).to_have_count(7)
    bare.get_by_role("link", name="nightly").first.click()
    bare.locator("summary", has_text="Log").first.click()
    bare.get_by_role("link", name="The log's last lines").first.click()
    expect(bare.locator("main")).to_contain_text("set WINDSOCK_AIRFLOW_URL")
    bare.locator(".top summary").click()
    expect(bare.get_by_role("link", name="Settings")).to_be_visible()
    plain.close()
