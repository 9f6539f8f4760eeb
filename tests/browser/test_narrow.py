"""On a phone, and the narrowest one: no page is wider than the screen, and fingers hit what they aim at."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.every_page import a_page, addresses, axe, furnished
from tests.unit.web_support import Served

__all__ = ["axe"]

WIDTHS = (390, 320)
SMALLEST = 24  # CSS pixels, each way: WCAG 2.2, 2.5.8
WRONG = Path("tests/browser/narrow.js").read_text(encoding="utf-8")
TARGETS = "axe.run(document, {runOnly: {type: 'rule', values: ['target-size']}, iframes: false})"


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    with a_page(browser, reduced_motion="reduce", has_touch=True) as page:
        yield page


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with furnished(tmp_path_factory.mktemp("full")) as monitor:
        yield monitor


def test_no_page_is_too_wide_and_no_target_too_small(full: Served, page: Page, axe: str) -> None:
    told: dict[str, list[str]] = {}
    for address in addresses(full):
        page.goto(full.url + address)
        found = []
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            found += [f"{width}: {words}" for words in page.evaluate(WRONG, SMALLEST)]
        page.evaluate(axe)
        found += [
            f"{node['html'][:120]}: {node['failureSummary'].splitlines()[-1].strip()}"
            for violation in page.evaluate(TARGETS)["violations"]
            for node in violation["nodes"]
        ]
        if found:
            told[address] = found
    assert not told, json.dumps(told, indent=1)
