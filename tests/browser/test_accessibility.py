"""axe-core finds nothing to object to on any page: with data and empty, light and dark, desktop and phone."""

import json
from collections.abc import Iterator, Sequence

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.every_page import a_page, addresses, axe, bare, furnished, own_settings
from tests.unit.web_support import Served, SignInAirflow, serving, with_sign_in

__all__ = ["axe"]

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
LOOKS = (("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390))


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    with a_page(browser, reduced_motion="reduce") as page:
        yield page


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with furnished(tmp_path_factory.mktemp("full")) as monitor:
        yield monitor


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with bare(tmp_path_factory.mktemp("empty")) as monitor:
        yield monitor


def objections(page: Page, axe: str, looks: Sequence[tuple[str, int]] = LOOKS) -> list[str]:
    """What axe has against the page as it is, in each of these looks, one line each."""
    page.evaluate(axe)  # past the content security policy, which lets no foreign script in
    found = []
    for scheme, width in looks:
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 900})
        told = page.evaluate(
            "tags => axe.run(document, {runOnly: tags, resultTypes: ['violations'], iframes: false})", TAGS
        )
        for violation in told["violations"]:
            nodes = [[*node["target"], node["html"][:160]] for node in violation["nodes"][:4]]
            found.append(f"{scheme} {width}: {violation['id']}: {violation['help']}: {json.dumps(nodes)}")
    return found


def of_all(page: Page, axe: str, monitor: Served, looks: Sequence[tuple[str, int]]) -> dict[str, list[str]]:
    told = {}
    for address in addresses(monitor):
        page.goto(monitor.url + address)
        told[address] = objections(page, axe, looks)
    assert "/settings" in told, "the walk has found the app's pages"
    return {address: found for address, found in told.items() if found}


def test_with_data(full: Served, page: Page, axe: str) -> None:
    assert of_all(page, axe, full, LOOKS) == {}


def test_empty(empty: Served, page: Page, axe: str) -> None:
    assert of_all(page, axe, empty, LOOKS[::3]) == {}


def test_a_broken_rules_file(full: Served, page: Page, axe: str) -> None:
    path = full.app.state.services.rules.path
    written = path.read_text()
    try:
        path.write_text(written + "\nreceivers: 7\n")
        page.goto(f"{full.url}/settings")
        page.get_by_role("alert").wait_for()
        assert objections(page, axe) == []
    finally:
        path.write_text(written)


def test_signed_out_and_in(tmp_path_factory: pytest.TempPathFactory, browser: Browser, axe: str) -> None:
    airflow = SignInAirflow()
    airflow.add("jane", "right", ["etl"])
    with (
        airflow.serving(),
        serving(with_sign_in(own_settings(tmp_path_factory.mktemp("out")), airflow)) as monitor,
        a_page(browser) as page,
    ):
        page.goto(f"{monitor.url}/assets")
        assert page.url.startswith(f"{monitor.url}/login")
        assert objections(page, axe) == []
        page.get_by_label("Name").fill("jane")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("alert").wait_for()
        assert objections(page, axe) == []
        page.get_by_label("Name").fill("jane")
        page.get_by_label("Password").fill("right")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Sign out").wait_for()
        assert objections(page, axe) == []
        for path in ("/settings", "/tokens"):
            page.goto(monitor.url + path)
            assert objections(page, axe, LOOKS[:1]) == []


def test_a_fault_is_found(empty: Served, page: Page, axe: str) -> None:
    page.goto(empty.url)
    page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    assert "button-name" in "".join(objections(page, axe, LOOKS[:1]))
