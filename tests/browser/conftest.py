"""A real browser on a real monitor. Screenshots go to WINDSOCK_ARTEFACTS (default: .windsock/artefacts)."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.unit.conftest import clock, live, settings

__all__ = ["clock", "live", "settings"]

CHROMIUM = Path("/usr/bin/chromium")
ARTEFACTS = Path(os.environ.get("WINDSOCK_ARTEFACTS", ".windsock/artefacts")) / "browser"
QUIET = (
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
)
DEADLINE_MS = 20_000
expect.set_options(timeout=DEADLINE_MS)  # Playwright's own 5 s are short beside three other tests


LOOKS = (("light", "light", 1280), ("dark", "dark", 1280), ("phone", "light", 390))


class Shot:
    """Saves what a page looks like: light, dark, and on a phone."""

    folder = ARTEFACTS

    def __call__(self, page: Page, name: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for look, scheme, width in LOOKS:
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.set_viewport_size({"width": width, "height": 900})
            page.screenshot(path=self.folder / f"{name}-{look}.png", full_page=True, animations="disabled")
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 1280, "height": 900})


@pytest.fixture(
    scope="module"
)  # not for the session: two folders have one, and Playwright runs one at a time
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is missing; CI has to have it: apt-get install chromium")
        pytest.skip(f"{CHROMIUM} is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    context.set_default_timeout(DEADLINE_MS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page whose errors, those of the content security policy too, fail the test."""
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console", lambda told: errors.append(told.text) if "Content Security Policy" in told.text else None
    )
    yield page
    assert errors == []


@pytest.fixture
def shot() -> Shot:
    return Shot()
