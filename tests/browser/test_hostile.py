"""A real browser on pages full of an attacker's texts: nothing runs, and nothing has to be stopped."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from monitor.settings import Settings
from tests.browser.test_dashboard import live
from tests.sample import run_event
from tests.unit.hostile_names import ATTACK, MARK, events, fill
from tests.unit.surfaces import surfaces
from tests.unit.web_support import Served, serving

PAGES_OF_OWN = ("/api", "/events", "/openapi.json", "/livez", "/readyz", "/health", "/metrics", "/links/")
"""Are no pages, or none without a signed token."""


@pytest.fixture
def monitor(settings: Settings) -> Iterator[Served]:
    with serving(settings) as monitor:
        yield monitor


@pytest.fixture
def watched(page: Page) -> Page:
    """A page on which no dialog opens and no attack's function is called. `page` fails on what the content
    security policy had to stop."""
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
    page.add_init_script(f"globalThis['{MARK}'] = () => {{ throw new Error('an attack ran') }}")
    return page


def test_no_attack_runs_on_any_page(monitor: Served, watched: Page) -> None:
    values = fill(monitor)
    pages = [
        one
        for one in surfaces(monitor.app)
        if not one.is_effect and (one.path == "/events/list" or not one.path.startswith(PAGES_OF_OWN))
    ]
    shown = 0
    for surface in pages:
        answer = watched.goto(f"{monitor.url}{surface.at(values)}", wait_until="load")
        assert answer is not None
        assert answer.status < 500, surface.name
        shown += MARK in watched.content()
        assert watched.url.startswith(monitor.url)
    assert shown > 10


def test_nothing_runs_when_the_feed_brings_it(monitor: Served, watched: Page) -> None:
    for path, where in (("/", "#events"), ("/incidents", "#open")):
        watched.goto(monitor.url + path)
        live(watched)
        monitor.post([*events(), run_event("failed", f"of {path}{ATTACK}")])
        expect(watched.locator(where)).to_contain_text(f"of {path}")
