"""A browser behind nginx, TLS and a path prefix: it signs in, follows the feed, and comes back by itself when
nginx is killed and started again.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from monitor.settings import Settings
from tests.browser.conftest import DEADLINE_MS
from tests.browser.test_dashboard import assert_not_reloaded, live, mark, row
from tests.nginx_server import NginxServer
from tests.ports import free_port
from tests.sample import run_event
from tests.unit.web.auth.test_authenticator import ALICE
from tests.unit.web_support import Served, SignInAirflow, serving, with_sign_in


@pytest.fixture
def nginx() -> Iterator[NginxServer]:
    server = NginxServer(free_port(), cuts=False)
    yield server
    server.stop()


@pytest.fixture
def monitor(settings: Settings, nginx: NginxServer) -> Iterator[Served]:
    with SignInAirflow().serving() as airflow:
        airflow.add(*ALICE, ["etl"])
        public = {"public_url": nginx.url, "port": nginx.monitor_port, "trusted_proxies": ("127.0.0.1",)}
        with serving(with_sign_in(settings, airflow).model_copy(update=public)) as monitor:
            yield monitor


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(ignore_https_errors=True)  # the certificate is the test's own
    context.set_default_timeout(DEADLINE_MS)
    yield context.new_page()
    context.close()


def test_it_signs_in_and_comes_back_after_nginx_was_killed(
    monitor: Served, nginx: NginxServer, page: Page
) -> None:
    nginx.start()
    page.goto(f"{nginx.url}/incidents")
    page.get_by_label("Name").fill(ALICE[0])
    page.get_by_label("Password").fill(ALICE[1])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{nginx.url}/incidents")
    page.goto(f"{nginx.url}/")
    live(page)
    mark(page)
    monitor.post([run_event("running", run_id="before")])
    row(page, "#events", "etl.*before")
    nginx.kill()
    expect(page.locator("#connection")).to_contain_text("Connection lost")
    monitor.post([run_event("running", run_id="meanwhile", start=60)])
    nginx.start()
    row(page, "#events", "etl.*meanwhile")
    live(page)
    monitor.post([run_event("running", run_id="after", start=120)])
    row(page, "#events", "etl.*after")
    assert_not_reloaded(page)
