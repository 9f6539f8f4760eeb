"""Every mail in a browser as on a phone and on a desk, by day and by night, with and without its style sheet
(some mail programs drop that): nothing sticks out, and everything can be read.

Screenshots go to WINDSOCK_ARTEFACTS/mail (default: .windsock/artefacts/mail): look at them.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from monitor.delivery.messages.model import Error
from monitor.delivery.messages.renderer import Renderer
from monitor.delivery.messages.samples import sample
from monitor.notifications.outbox.records import TEMPLATES
from tests.unit.conftest import FakeClock

ARTEFACTS = Path(os.environ.get("WINDSOCK_ARTEFACTS", ".windsock/artefacts")) / "mail"
PHONE, DESK, SMALL_PHONE = 390, 900, 320
PHONE_SCREEN = 844  # pixels high
STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)

STICKING_OUT = """() => {
    const width = document.documentElement.clientWidth;
    const found = [...document.querySelectorAll("body *")]
        .filter((one) => one.getBoundingClientRect().right > width + 1)
        .map((one) => one.outerHTML.slice(0, 120));
    // What a table cell cuts off or lets run over its neighbour.
    for (const cell of document.querySelectorAll("td, p, h1, h2")) {
        if (cell.scrollWidth > cell.clientWidth + 1) found.push("over: " + cell.outerHTML.slice(0, 120));
    }
    return document.documentElement.scrollWidth > width ? ["the page", ...found] : found;
}"""

# Contrast as WCAG 2 defines it, of each text with the nearest ground that is painted behind it.
HARD_TO_READ = """() => {
    const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
    const light = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map((one) => {
            const share = one / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const ground = (element) => {
        for (let one = element; one; one = one.parentElement) {
            const found = parse(getComputedStyle(one).backgroundColor);
            if (found.length === 3 || found[3] === 1) return found;
        }
        return [255, 255, 255];
    };
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const element = node.parentElement;
        const style = getComputedStyle(element);
        const size = parseFloat(style.fontSize);
        const isShown = node.data.replace(/\\u00a0/g, "").trim() && element.getClientRects().length;
        if (!isShown || size < 2) continue;
        const [high, low] = [light(parse(style.color)), light(ground(element))].sort((a, b) => b - a);
        const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
        const contrast = (high + 0.05) / (low + 0.05);
        if (contrast < (isLarge ? 3 : 4.5)) {
            found.push(`${contrast.toFixed(2)}: ${node.data.trim().slice(0, 40)} (${style.color})`);
        }
    }
    return found;
}"""

renderer = Renderer(
    "windsock@example.com",
    "https://windsock.example.com",
    {"production": "https://airflow.example.com"},
    FakeClock(),
)


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """No network and no script: a mail has neither."""
    context = browser.new_context(java_script_enabled=True, offline=True)
    page = context.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    yield page
    context.close()
    assert requests == [], "a mail loads nothing"


def look(page: Page, html: str, width: int, scheme: Any) -> tuple[list[str], list[str]]:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    page.set_content(html)
    return page.evaluate(STICKING_OUT), page.evaluate(HARD_TO_READ)


@pytest.mark.parametrize("hostile", [False, True], ids=["as usual", "hostile"])
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_mail_looks_well(page: Page, template: str, hostile: bool) -> None:
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    html = renderer.preview(template, hostile).html
    for width, place in ((PHONE, "phone"), (DESK, "desk")):
        for scheme in ("light", "dark"):
            assert look(page, html, width, scheme) == ([], [])
            name = f"{template}{'-hostile' if hostile else ''}-{place}-{scheme}.png"
            page.screenshot(path=ARTEFACTS / name, full_page=True, animations="disabled")


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_mail_looks_well_where_its_style_sheet_is_dropped(page: Page, template: str) -> None:
    html = STYLE.sub("", renderer.preview(template).html)
    for width in (SMALL_PHONE, DESK):
        assert look(page, html, width, "light") == ([], [])


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_mail_looks_well_on_the_smallest_phone(page: Page, template: str) -> None:
    assert look(page, renderer.preview(template, hostile=True).html, SMALL_PHONE, "dark") == ([], [])


def test_these_checks_find_what_is_wrong(page: Page) -> None:
    bad = '<p style="color:#999999;background:#ffffff;width:500px">grey</p>'
    sticking_out, hard_to_read = look(page, f"<body>{bad}</body>", PHONE, "light")
    assert sticking_out
    assert [said[:4] for said in hard_to_read] == ["2.85"]


def test_the_mail_of_thirty_failures_is_two_phone_screens_above_its_details(page: Page) -> None:
    story, letter = sample("run_failed")
    for names in ("one task", "thirty tasks"):
        tasks = tuple(
            replace(
                story.failed[0],
                task_id="load" if names == "one task" else f"load_the_part_with_the_number_{number}",
                map_index=number,
                error=Error("RuntimeError", f"part-{number}.csv: checksum mismatch, expected 0x{number:08x}"),
            )
            for number in range(30)
        )
        html = renderer.render("run_failed", replace(story, failed=tasks), letter).html
        assert look(page, html, PHONE, "light") == ([], [])
        details = page.get_by_role("heading", name="Errors in full").bounding_box()
        assert details is not None
        assert details["y"] <= 2 * PHONE_SCREEN
