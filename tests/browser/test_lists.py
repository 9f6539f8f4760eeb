"""Long lists: older rows follow by scrolling and by key, new ones come on top, "back" is where one was."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from monitor.settings import Settings
from tests import wait
from tests.browser import world
from tests.browser.conftest import Shot
from tests.browser.test_dashboard import assert_not_reloaded, live, mark, row
from tests.unit.web_support import Served, serving

ROWS = "document.querySelectorAll('.rows .row').length"
ORDER = """[...document.querySelectorAll(".rows .row")].map((row) => Number(row.dataset.seq))"""


@pytest.fixture
def monitor(settings: Settings) -> Iterator[Served]:
    """With 700 runs."""
    with serving(settings) as monitor:
        for start in range(0, 700, 350):
            made = [
                world.run_of("success", "etl", f"run {n}", 9000 - n, 1) for n in range(start, start + 350)
            ]
            monitor.post(made)
        yield monitor


def more_than(page: Page, number: int) -> None:
    """Not by Playwright's own waiting: it evaluates text, which the content security policy refuses."""
    wait.until(lambda: page.evaluate(ROWS) > number, f"more than {number} rows")


def scroll_to(page: Page, number: int) -> None:
    def end() -> bool:
        page.keyboard.press("End")
        return bool(page.evaluate(ROWS) >= number)

    wait.until(end, f"{number} rows")


def in_order(page: Page, number: int) -> None:
    seqs = page.evaluate(ORDER)
    assert seqs == sorted(set(seqs), reverse=True)
    assert len(seqs) == number


@pytest.mark.parametrize("path", ["/runs", "/events/list"])
def test_older_rows_follow_and_new_ones_come_on_top(monitor: Served, page: Page, path: str) -> None:
    page.goto(monitor.url + path)
    live(page)
    mark(page)
    scroll_to(page, 700)
    in_order(page, 700)
    expect(page.locator(".more")).to_have_text("")
    page.evaluate("scrollTo(0, 0)")
    monitor.post([world.run_of("success", "etl", f"new {n}", 100 - n, 1) for n in range(70)])
    place = "#runs" if path == "/runs" else "#events"
    row(page, place, "new 69")  # more than fit on a first page: the gap between is filled
    wait.until(lambda: page.evaluate(ROWS) == 770, "every row")
    in_order(page, 770)
    if path == "/runs":
        monitor.post(
            [world.run_of("success", "etl", "run 5", 8995, 1), world.run_of("failed", "etl", "run 5", 90)]
        )
        row(page, place, "failed.*run 5")
        in_order(page, 770)
    assert_not_reloaded(page)


def test_after_a_long_absence_the_list_begins_anew(monitor: Served, page: Page) -> None:
    page.goto(f"{monitor.url}/runs")
    live(page)
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    for start in (0, 300):
        monitor.post([world.run_of("success", "etl", f"new {start + n}", 800 - n, 1) for n in range(300)])
    page.evaluate("delete document.hidden")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    row(page, "#runs", "new 599")
    more_than(page, 499)
    seqs = page.evaluate(ORDER)
    assert seqs == list(range(1300, 1300 - len(seqs), -1))


def test_rows_are_walked_by_keyboard(monitor: Served, page: Page, shot: Shot) -> None:
    page.goto(f"{monitor.url}/runs")
    live(page)
    focused = "document.activeElement.closest('[data-key]')?.dataset.key"
    page.keyboard.press("j")
    assert page.evaluate(focused) == "local/etl/run 699"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("j")
    assert page.evaluate(focused) == "local/etl/run 697"
    page.keyboard.press("k")
    assert page.evaluate(focused) == "local/etl/run 698"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    monitor.post([world.run_of("running", "etl", "other", 1)])
    row(page, "#runs", "other")
    assert page.evaluate(focused) == "local/etl/run 698"
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    shot(page, "keys")
    page.get_by_label("Single letters are keys").uncheck()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("j")
    assert page.evaluate(focused) == "local/etl/run 698"
    page.get_by_role("button", name="Keys").click()
    page.get_by_label("Single letters are keys").check()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("/")
    page.keyboard.type("run j?n/k")
    expect(page.get_by_label("Search")).to_have_value("run j?n/k")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_back_is_where_one_was(monitor: Served, page: Page) -> None:
    page.goto(f"{monitor.url}/runs?search=run")
    live(page)
    scroll_to(page, 450)
    link = page.get_by_role("link", name="etl").nth(300)
    link.scroll_into_view_if_needed()
    seen = link.locator("xpath=ancestor::li").get_attribute("data-key")
    link.click()
    expect(page.get_by_role("heading", name="etl")).to_be_visible()
    page.go_back()
    expect(page.locator(f'[data-key="{seen}"]')).to_be_in_viewport()


def test_the_link_to_older_rows_works_by_keyboard(monitor: Served, page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 300})
    page.goto(f"{monitor.url}/runs")
    live(page)
    before = page.evaluate(ROWS)
    page.evaluate("document.querySelector('.more a').focus({ preventScroll: true })")
    page.keyboard.press("Enter")
    more_than(page, before)
    expect(page).to_have_url(f"{monitor.url}/runs")
    focused = "document.activeElement.closest('.piece [data-key]')?.dataset.key"
    wait.until(lambda: page.evaluate(focused) == "local/etl/run 649", "the focus on the first older row")
