"""Assets in a browser: the list, one asset with its charts and its table, live, by keyboard, on a phone."""

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from monitor.settings import Settings
from tests import wait
from tests.browser.asset_world import URI, train, update
from tests.browser.conftest import Shot
from tests.browser.test_dashboard import assert_not_reloaded, live, mark, row
from tests.unit.web_support import Served, serving

FIT = """[...document.querySelectorAll('.plot')].every((one) =>
  one.querySelector('.uplot').getBoundingClientRect().right <= one.getBoundingClientRect().right)"""


@pytest.fixture
def monitor(settings: Settings) -> Iterator[Served]:
    with serving(settings) as monitor:
        yield monitor


def address(monitor: Served, uri: str = URI) -> str:
    return f"{monitor.url}/assets/local?uri={quote(uri, safe='')}"


def test_assets_are_listed_and_lead_to_one(monitor: Served, page: Page, shot: Shot) -> None:
    page.goto(f"{monitor.url}/assets")
    live(page)
    expect(page.locator("#assets")).to_contain_text("No asset has been reported yet")
    mark(page)
    train(monitor)
    row(page, "#assets", "fresh.*model.pkl.*accuracy.*30 updates.*mostly every 1 h")
    row(page, "#assets", "customers.parquet")
    assert_not_reloaded(page)
    shot(page, "assets")
    page.get_by_role("link", name="model.pkl").click()
    expect(page.get_by_role("heading", name="model.pkl")).to_be_visible()
    page.go_back()
    row(page, "#assets", "model.pkl")


def test_an_asset_shows_its_metrics_and_follows_them(monitor: Served, page: Page, shot: Shot) -> None:
    train(monitor)
    page.goto(address(monitor))
    live(page)
    charts = page.get_by_role("img", name=re.compile("over 30 updates"))
    expect(charts).to_have_count(3)  # rows stays the same: no chart
    expect(page.locator("#plot-note")).to_contain_text("The same in each: rows 569")
    expect(page.locator(".plot canvas")).to_have_count(3)
    row(page, "#makers", "Airflow_Lab2 › build_model.*manual__30")
    row(page, "#consumers", "release.*asset_triggered__30")
    expect(page.locator("#summary")).to_contain_text("By its own rhythm")
    expect(page.locator("#updates > tr")).to_have_count(30)
    expect(page.locator("#updates > tr").first).to_contain_text("1e9f86d08188")
    shot(page, "asset")
    mark(page)
    monitor.post([update(31, 0)])
    expect(page.get_by_role("img", name=re.compile("over 31 updates"))).to_have_count(3)
    expect(page.locator("#updates > tr").first).to_contain_text("1f9f86d08188")
    assert_not_reloaded(page)


def test_the_charts_tell_what_is_under_the_pointer(monitor: Served, page: Page) -> None:
    train(monitor, updates=3)
    page.goto(address(monitor))
    captions = page.locator(".plot figcaption")
    expect(captions).to_have_count(3)
    before = captions.all_inner_texts()
    page.locator(".plot .u-over").first.hover(position={"x": 2, "y": 40})
    for index in range(3):  # the pointer is over one, and all tell of that moment
        expect(captions.nth(index)).not_to_have_text(before[index])
    page.mouse.move(0, 0)
    for index in range(3):
        expect(captions.nth(index)).to_have_text(before[index])


def test_the_charts_take_the_looks_colours_and_the_pages_width(monitor: Served, page: Page) -> None:
    train(monitor, updates=5)
    page.goto(address(monitor))
    canvas = page.locator(".plot canvas").first
    expect(canvas).to_be_visible()
    light = canvas.evaluate("canvas => canvas.toDataURL()")
    page.emulate_media(color_scheme="dark")
    wait.until(lambda: canvas.evaluate("canvas => canvas.toDataURL()") != light, "other colours")
    page.set_viewport_size({"width": 390, "height": 800})
    wait.until(lambda: page.evaluate(FIT), "the charts to fit")


def test_charts_that_cannot_be_drawn_say_so_and_come_back(monitor: Served, page: Page) -> None:
    train(monitor, updates=2)
    page.route("**/api/v1/assets/updates**", lambda route: route.fulfill(status=503))
    page.goto(address(monitor))
    live(page)
    expect(page.locator("#plot-note")).to_contain_text("cannot be drawn (the server answers 503)")
    page.unroute("**/api/v1/assets/updates**")
    monitor.post([update(3, 0)])
    expect(page.get_by_role("img", name=re.compile("over 3 updates"))).to_have_count(3)


def test_older_updates_are_a_page_of_their_own(monitor: Served, page: Page) -> None:
    train(monitor, updates=60)
    page.goto(address(monitor))
    expect(page.locator("#updates > tr")).to_have_count(50)
    page.get_by_role("link", name="Older updates").click()
    expect(page.locator("#updates > tr")).to_have_count(10)
    expect(page.get_by_role("img", name=re.compile("over 60 updates"))).to_have_count(3)
    expect(page.get_by_role("link", name="Older updates")).to_have_count(0)
    page.go_back()
    expect(page.locator("#updates > tr")).to_have_count(50)


def test_the_table_is_read_by_keyboard(monitor: Served, page: Page) -> None:
    train(monitor, updates=2)
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(address(monitor))
    table = page.get_by_role("region", name="Table of updates")
    table.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    wait.until(lambda: table.evaluate("table => table.scrollLeft") > 0, "the table to be scrolled")
    summary = page.locator("#updates summary").first
    summary.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#updates dl").first).to_contain_text("sklearn")


def test_an_asset_without_numbers_says_how_to_get_them(monitor: Served, page: Page, shot: Shot) -> None:
    train(monitor, updates=1)
    page.goto(address(monitor, "s3://lake/raw/customers.parquet"))
    expect(page.locator("#plot-note")).to_contain_text("Every value is in the table")
    shot(page, "asset-empty")
    page.goto(address(monitor, "s3://lake/unheard"))
    expect(page.locator("main")).to_contain_text("No asset 's3://lake/unheard' is known")
