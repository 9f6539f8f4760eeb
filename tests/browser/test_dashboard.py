"""The pages in a browser while a run goes on: they change without a reload and survive a restart."""

import re

from playwright.sync_api import BrowserContext, Page, expect

from monitor.clock import utc_now
from monitor.database.engine import Database
from monitor.event_log.append import append
from monitor.events.event import parse_event
from monitor.settings import Settings
from tests import wait
from tests.browser.conftest import Shot
from tests.sample import asset_event, run_event, task_event
from tests.unit.web_support import Served, SignInAirflow, serving, with_sign_in

DAG = "Airflow_Lab2"
RUN = "manual__2026-11-22T10:00:00+00:00"
METRICS = {"accuracy": 0.9736842, "roc_auc": 0.99702, "rows": 569, "sha256": "9f86d081884c7d65" * 4}


def mark(page: Page) -> None:
    """What a reload would wipe away."""
    page.evaluate("window.notReloaded = true")


def assert_not_reloaded(page: Page) -> None:
    assert page.evaluate("window.notReloaded") is True


def live(page: Page) -> None:
    expect(page.locator("#connection")).to_have_text("Live")


def row(page: Page, place: str, words: str) -> None:
    expect(page.locator(f"{place} > li").filter(has_text=re.compile(words, re.DOTALL))).to_be_visible()


def play_a_run(monitor: Served, page: Page) -> None:
    """A training run, then a failing one, each step seen before the next is reported."""
    monitor.post([run_event("running", DAG, RUN)])
    row(page, "#running", f"running.*{DAG}")
    monitor.post(
        [task_event("success", "load_data", DAG, RUN), task_event("running", "build_model", DAG, RUN)]
    )
    row(page, "#events", "success.*load_data")
    expect(page.locator("#running .strip")).to_have_attribute("aria-label", "1 running, 1 success")
    monitor.post([asset_event(1, source_dag_id=DAG, source_run_id=RUN, extra=METRICS)])
    row(page, "#events", "updated.*model.pkl.*0.9737")
    monitor.post([run_event("success", DAG, RUN)])
    row(page, "#succeeded", f"success.*{DAG}")
    row(page, "#mails", rf"sent.*\[local\] {DAG} · 10\.0 s")
    error = {
        "type": "ValueError",
        "message": "column 'target' is missing",
        "traceback": "Traceback\n  line 1",
    }
    monitor.post([task_event("up_for_retry", "extract", "nightly", "scheduled__1", error=error)])
    monitor.post(
        [task_event("failed", "extract", "nightly", "scheduled__1", try_number=2, max_tries=1, error=error)]
    )
    monitor.post([task_event("upstream_failed", "load", "nightly", "scheduled__1")])
    monitor.post([run_event("failed", "nightly", "scheduled__1", start=60, message="task_failure")])
    row(page, "#events", "failed.*nightly.*run · task_failure")
    row(page, "#mails", r"sent.*\[local\] nightly · extract · ValueError")
    monitor.post([run_event("running", "scoring", "asset_triggered__1", start=90)])
    row(page, "#running", "running.*scoring")


def test_the_dashboard_follows_a_run_without_a_reload(settings: Settings, page: Page, shot: Shot) -> None:
    with serving(settings) as monitor:
        page.goto(monitor.url)
        live(page)
        expect(page.locator("#running")).to_contain_text("Nothing runs")
        mark(page)
        play_a_run(monitor, page)
        assert_not_reloaded(page)
        shot(page, "dashboard")
        for path, name in (
            ("/status", "status-success"),
            ("/status?dag_id=nightly", "status-failure"),
            ("/runs/local/nightly/scheduled__1", "run"),
            ("/events/list", "events"),
            ("/mail", "mail"),
            ("/deliveries/1", "delivery"),
            ("/docs", "docs"),
        ):
            page.goto(monitor.url + path)
            shot(page, name)
        page.goto(monitor.url + "/mail")
        page.locator("#letters a").first.click()
        expect(page.frame_locator("iframe.letter").locator("body")).to_contain_text("nightly")
        shot(page, "letter")


def test_rows_that_do_not_change_are_left_alone(settings: Settings, page: Page) -> None:
    with serving(settings) as monitor:
        monitor.post([run_event("success", DAG, RUN)])
        page.goto(f"{monitor.url}/runs")
        live(page)
        page.locator("#runs a").focus()
        page.evaluate("window.before = document.querySelector('#runs > li')")
        monitor.post([run_event("running", "other", "1", start=60)])
        row(page, "#runs", "running.*other")
        assert page.evaluate("document.querySelectorAll('#runs > li')[1] === window.before")
        assert page.evaluate("document.activeElement.textContent").strip() == DAG
        monitor.post([run_event("running", DAG, RUN, start=100)])  # it was cleared and runs again
        row(page, "#runs", f"running.*{DAG}")
        assert page.evaluate("document.activeElement.textContent").strip() == DAG


def test_an_opened_traceback_stays_open(settings: Settings, page: Page) -> None:
    with serving(settings) as monitor:
        error = {"type": "E", "message": "first", "traceback": "Traceback"}
        monitor.post([run_event("running"), task_event("up_for_retry", error=error)])
        page.goto(f"{monitor.url}/runs/local/etl/manual__1")
        live(page)
        page.locator("summary", has_text="Traceback").click()
        again = {**error, "message": "second"}
        monitor.post([task_event("failed", try_number=2, max_tries=1, error=again)])
        expect(page.locator("#tasks .line", has_text="second")).to_contain_text("failed")
        expect(page.locator("#tasks details").first).to_have_attribute("open", "")


def test_a_restart_is_said_and_caught_up_with(settings: Settings, page: Page, shot: Shot) -> None:
    with serving(settings) as monitor:
        monitor.post([run_event("running", DAG, RUN)])
        page.goto(monitor.url)
        live(page)
        row(page, "#running", f"running.*{DAG}")
        mark(page)
        port = monitor.port
    expect(page.locator("#connection")).to_have_text(
        re.compile(r"Connection lost at \d\d:\d\d:\d\d.*, trying again")
    )
    row(page, "#running", f"running.*{DAG}")  # what was known stays
    shot(page, "disconnected")
    with serving(settings.model_copy(update={"port": port})) as monitor:
        monitor.post([run_event("success", DAG, RUN)])
        live(page)
        row(page, "#succeeded", f"success.*{DAG}")
        assert_not_reloaded(page)


def test_a_heartbeat_moves_the_browsers_own_cursor(settings: Settings, page: Page) -> None:
    """What feed.py builds on: an `id:` without data is taken as the last event id (HTML standard, 9.2.6).

    The browser has been told a heartbeat and no event. What is logged while nobody serves comes to it only
    if it names the heartbeat's cursor when it comes back.
    """
    with serving(settings) as monitor:
        page.goto(f"{monitor.url}/docs")
        page.evaluate(
            """() => {
                window.got = [];
                window.source = new EventSource("/events?dag_id=wanted");
                const take = (event) => window.got.push(event.data);
                window.source.addEventListener("airflow.dag_run.failed", take);
            }"""
        )
        wait.until(lambda: page.evaluate("window.source.readyState") == 1, "the browser's feed")
        port = monitor.port
    database = Database(settings.database)
    missed = [parse_event(run_event("failed", "wanted"))]
    database.write_now(lambda connection: append(connection, missed, utc_now()))
    database.close()
    with serving(settings.model_copy(update={"port": port})):
        wait.until(lambda: page.evaluate("window.got.length") == 1, "the event of the pause")


def test_signing_in(settings: Settings, context: BrowserContext, page: Page, shot: Shot) -> None:
    with SignInAirflow().serving() as airflow:
        airflow.add("alice", "alice's secret", [DAG])
        with serving(with_sign_in(settings, airflow)) as monitor:
            monitor.post([run_event("success", DAG, RUN), run_event("failed", "payroll")])
            page.goto(f"{monitor.url}/runs/local/{DAG}/{RUN}")
            expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
            page.get_by_label("Name").fill("alice")
            page.get_by_label("Password").fill("wrong")
            page.get_by_label("Password").press("Enter")
            expect(page.get_by_role("alert")).to_contain_text("does not accept")
            shot(page, "login")
            page.get_by_label("Name").fill("alice")
            page.get_by_label("Password").fill("alice's secret")
            page.get_by_role("button", name="Sign in").click()
            expect(page.get_by_role("heading", name=DAG)).to_be_visible()
            page.get_by_role("link", name="Now", exact=True).click()
            live(page)
            row(page, "#succeeded", DAG)
            monitor.post([run_event("failed", "payroll", "2"), run_event("running", DAG, "next", start=60)])
            row(page, "#running", f"running.*{DAG}.*next")
            expect(page.locator("body")).not_to_contain_text("payroll")
            shot(page, "signed-in")
            other = context.new_page()
            other.goto(monitor.url)
            other.get_by_role("button", name="Sign out").click()
            expect(page.locator("#connection")).to_contain_text("Signed out – Sign in again")
