"""Tokens in a browser: made, shown once, revoked."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from monitor.settings import Settings
from tests.browser.conftest import Shot
from tests.unit.web_support import Served, serving


@pytest.fixture
def monitor(settings: Settings) -> Iterator[Served]:
    with serving(settings) as monitor:
        yield monitor


def test_a_token_is_made_shown_once_and_revoked(monitor: Served, page: Page, shot: Shot) -> None:
    page.goto(f"{monitor.url}/tokens")
    expect(page.locator("#tokens")).to_contain_text("There is none yet")
    page.get_by_label("What it is for").fill("the wall's screen")
    page.get_by_label("admin").check()
    page.get_by_label("Days").select_option("30")
    page.get_by_role("button", name="Make a token").click()
    secret = page.locator("#secret").inner_text().strip()
    assert page.url == f"{monitor.url}/tokens"
    shot(page, "tokens")
    bearer = {"Authorization": f"Bearer {secret}"}
    assert httpx.get(f"{monitor.url}/api/v1/runs", headers=bearer).status_code == 200
    page.goto(f"{monitor.url}/tokens")
    assert secret not in page.content()
    expect(page.locator("#tokens")).to_contain_text("admin, read · every DAG · by this monitor’s machine")
    page.get_by_role("button", name="Revoke the wall's screen").click()
    expect(page.locator("#tokens")).to_contain_text("revoked")
    assert httpx.get(f"{monitor.url}/api/v1/runs", headers=bearer).status_code == 401
