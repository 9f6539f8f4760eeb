"""A person who has the dashboard open while Airflow works."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Shot
from tests.e2e.conftest import Stage

pytestmark = pytest.mark.slow

RUN_MS = 60_000  # for a run of a real Airflow


def test_a_run_of_a_real_airflow_shows_without_a_reload(stage: Stage, page: Page, shot: Shot) -> None:
    page.goto(stage.monitor.url)
    expect(page.locator("#connection")).to_have_text("Live")
    page.evaluate("window.notReloaded = true")
    runs = page.locator(":is(#running, #failures) > li")

    run_id = stage.airflow.trigger("fails")
    this = runs.filter(has_text=run_id)
    expect(this).to_contain_text("running", timeout=RUN_MS)
    expect(this).to_contain_text("failed", timeout=RUN_MS)
    mail = page.locator("#mails > li").filter(has_text=re.compile("sent.*fails · broken", re.DOTALL))
    expect(mail.first).to_be_visible(timeout=RUN_MS)
    assert page.evaluate("window.notReloaded") is True
    shot(page, "real-airflow")

    this.get_by_role("link").first.click()
    expect(page.get_by_text("no such table").first).to_be_visible()
    shot(page, "real-airflow-run")
