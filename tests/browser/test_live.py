"""The word "Live" in a browser: it goes when the monitor is silent, and holds with many windows open."""

import os
import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from monitor.settings import Settings
from tests.browser.test_dashboard import live, row
from tests.monitor_process import MonitorProcess
from tests.sample import run_event
from tests.unit.web_support import serving

WINDOWS = 8  # a browser has six connections to a server
NOTICED_MS = 30_000
CANNOT_SHARE = "delete window.SharedWorker"  # phones


def test_windows_share_one_feed(settings: Settings, context: BrowserContext) -> None:
    with serving(settings) as monitor:
        pages = [context.new_page() for _ in range(WINDOWS)]
        for number, page in enumerate(pages):
            page.goto(monitor.url + ("/runs?dag_id=etl" if number % 2 else "/"))
            live(page)
        registry = monitor.app.state.services.metrics.registry
        assert registry.get_sample_value("windsock_feed_subscribers") == 1
        monitor.post([run_event("running", "other"), run_event("running", "etl", "manual__7")])
        for number, page in enumerate(pages):
            row(page, "#runs" if number % 2 else "#events", "running.*etl.*manual__7")
        for page in pages[1:]:
            page.close()
        monitor.post([run_event("running", "etl", "manual__8")])
        row(pages[0], "#events", "running.*etl.*manual__8")


@pytest.mark.parametrize("script", ["", CANNOT_SHARE])
def test_a_page_follows_its_own_filter(settings: Settings, context: BrowserContext, script: str) -> None:
    context.add_init_script(script)
    with serving(settings) as monitor:
        page = context.new_page()
        monitor.post([run_event("running", "etl", "manual__1")])
        page.goto(monitor.url + "/events/list?dag_id=et*&state=failed&state=success")
        live(page)
        monitor.post([run_event("success", "other"), run_event("success", "etl", "manual__1")])
        row(page, "#events", "success.*etl")
        expect(page.locator("#events")).not_to_contain_text("other")


def test_a_frozen_monitor_is_noticed_and_its_return_too(browser: Browser, tmp_path: Path) -> None:
    monitor = MonitorProcess(tmp_path).start()
    shared, alone = browser.new_context(), browser.new_context()
    alone.add_init_script(CANNOT_SHARE)
    try:
        pages: list[Page] = [context.new_page() for context in (shared, alone)]
        for page in pages:
            page.goto(monitor.url)
            live(page)
        os.kill(monitor.process_id, signal.SIGSTOP)
        lost = re.compile("Connection lost at .*, trying again")
        for page in pages:
            expect(page.locator("#connection")).to_have_text(lost, timeout=NOTICED_MS)
            expect(page.locator("#connection")).to_have_attribute("data-state", "lost")
        os.kill(monitor.process_id, signal.SIGCONT)
        for page in pages:
            live(page)
    finally:
        os.kill(monitor.process_id, signal.SIGCONT)
        shared.close()
        alone.close()
        monitor.stop()
