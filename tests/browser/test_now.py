"""The page that stays open on the wall: what runs, what failed, what is silenced, how every part is."""

import re

import pytest
from playwright.sync_api import Page, expect

from monitor.settings import Settings
from tests.browser import world
from tests.browser.conftest import Shot
from tests.browser.test_dashboard import assert_not_reloaded, live, mark, row
from tests.browser.test_mail_looks import HARD_TO_READ, STICKING_OUT
from tests.unit.web_support import SignInAirflow, serving, with_sign_in

WALL = {"width": 1920, "height": 1080}
LAB = "manual__2026-11-25T04:10:00+00:00"


def test_a_wall_shows_what_happens(settings: Settings, page: Page, shot: Shot) -> None:
    with serving(settings) as monitor:
        world.fill(monitor)
        page.set_viewport_size(WALL)  # type: ignore[arg-type]
        page.goto(monitor.url)
        live(page)
        mark(page)
        row(page, "#running", "running.*Airflow_Lab2")
        strip = page.locator("#running .strip").first
        expect(strip).to_have_attribute("aria-label", "1 running, 4 success")
        elapsed = page.locator("#running time.elapsed").first
        first = elapsed.text_content()
        expect(elapsed).not_to_have_text(first or "")
        row(
            page, "#failures", "failed.*nightly › train.*ValueError column 'target' is missing.*Incident.*Run"
        )
        expect(page.locator("#failures")).not_to_contain_text("features.csv")  # the first line alone
        expect(page.locator("#numbers")).to_contain_text(re.compile(r"2\s+in progress\s+2\s+failed in 24 h"))
        row(
            page,
            "#attention",
            "nightly fails.*ValueError: column.*in task train.*1 failure.*open.*Acknowledge.*Silence",
        )
        row(page, "#health", "All systems OK")
        expect(page.locator("#health dl")).to_be_hidden()
        page.locator("#health summary").click()
        row(page, "#health", "mail.*embedded mailbox")
        row(page, "#health", "spool.*hooks report within.*(just now|ago)")
        monitor.post([world.task_of("success", world.TASKS[4], "Airflow_Lab2", LAB, 30, 20)])
        expect(strip).to_have_attribute("aria-label", "5 success")
        monitor.post([world.run_of("success", "Airflow_Lab2", LAB, 95, 90)])
        row(page, "#succeeded", f"success.*{re.escape(LAB)}")
        expect(page.locator("#running")).not_to_contain_text("Airflow_Lab2")
        assert_not_reloaded(page)
        page.locator("#attention").get_by_role("link", name="Acknowledge").first.click()
        page.get_by_label("Reason", exact=True).fill("a ticket is open")
        page.get_by_label("Reason", exact=True).press("Enter")
        monitor.client.post("/silences", data={"dag_id": "reports", "until": "1h", "reason": "it is moved"})
        page.go_back()
        page.go_back()
        row(page, "#quiet", "acknowledged.*local: a ticket is open")
        row(page, "#quiet", "silenced.*DAG reports.*it is moved.*until")
        page.screenshot(path=shot.folder / "now-wall.png", animations="disabled")
        shot(page, "now")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read_at_every_width(settings: Settings, page: Page, scheme: str) -> None:
    with serving(settings) as monitor:
        world.fill(monitor)
        run = "/runs/local/nightly/scheduled__2026-11-25T02%3A00%3A00%2B00%3A00"
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        for path in ("/", "/runs?state=failed", run, "/events/list"):
            page.goto(monitor.url + path)
            live(page)
            for width in (320, 390, 1200, 1920):
                page.set_viewport_size({"width": width, "height": 900})
                sticking = page.evaluate("document.documentElement.scrollWidth") - width
                assert sticking <= 0, (path, width, page.evaluate(STICKING_OUT))
            assert page.evaluate(HARD_TO_READ) == [], path


def test_the_header_is_one_line_on_a_laptop(settings: Settings, page: Page) -> None:
    name = "a.rather.long.name.of.somebody@example.com"
    with SignInAirflow().serving() as airflow:
        airflow.add(name, "secret", ["etl"])
        with serving(with_sign_in(settings, airflow)) as monitor:
            page.set_viewport_size({"width": 1200, "height": 800})
            page.goto(monitor.url)
            page.get_by_label("Name").fill(name)
            page.get_by_label("Password").fill("secret")
            page.get_by_label("Password").press("Enter")
            live(page)
            parts = page.locator(".top > *:visible")
            boxes = [part.bounding_box() for part in parts.all()]
            middles = [box["y"] + box["height"] / 2 for box in boxes if box]
            assert max(middles) - min(middles) < 6, boxes
            button = page.get_by_role("button", name="Sign out").bounding_box()
            assert button is not None
            assert button["x"] + button["width"] <= 1200
            assert button["height"] < 50
            page.locator(".top summary").focus()
            page.keyboard.press("Enter")
            page.keyboard.press("Tab")
            expect(page.get_by_role("link", name="Templates")).to_be_focused()
            page.keyboard.press("Escape")
            expect(page.get_by_role("link", name="Templates")).to_be_hidden()
            expect(page.locator(".top summary")).to_be_focused()


def test_failures_are_counted_while_nobody_looks_and_said_once(settings: Settings, page: Page) -> None:
    with serving(settings) as monitor:
        page.goto(monitor.url)
        live(page)
        said = page.locator("#said")
        page.evaluate("document.hasFocus = () => false")
        page.evaluate(
            """() => {
                window.told = [];
                new MutationObserver(() => window.told.push(document.getElementById("said").textContent))
                    .observe(document.getElementById("said"), { childList: true });
            }"""
        )
        for dag_id in ("one", "two", "three", "four"):
            monitor.post([world.run_of("failed", dag_id, "1", 100)])
        expect(page).to_have_title("(4) Now · Windsock")
        expect(said).to_have_text(re.compile("runs? failed: one"))
        assert len(page.evaluate("window.told")) == 1
        page.locator("h2").first.click()
        expect(page).to_have_title("Now · Windsock")


def test_a_server_that_is_slow_is_asked_seldom(settings: Settings, page: Page) -> None:
    """Requests are held up at the browser's edge; while one is on its way no other is sent."""
    with serving(settings) as monitor:
        page.goto(monitor.url)
        live(page)
        open_now: list[int] = []
        page.evaluate(
            """() => {
                window.open = 0; window.most = 0; window.looks = 0;
                const real = window.fetch;
                window.fetch = async (...given) => {
                    window.looks += 1;
                    window.most = Math.max(window.most, ++window.open);
                    await new Promise((done) => setTimeout(done, 300));
                    try { return await real(...given); } finally { window.open -= 1; }
                };
            }"""
        )
        for number in range(20):
            monitor.post([world.run_of("success", "etl", f"run {number}", 100 - number, 1)])
        row(page, "#succeeded", "run 19")
        open_now.append(page.evaluate("window.most"))
        assert open_now == [1]
        assert page.evaluate("window.looks") < 15


def test_what_has_not_changed_is_not_sent_again(settings: Settings, page: Page) -> None:
    with serving(settings) as monitor:
        monitor.post([world.run_of("success", "etl", "1", 100)])
        page.goto(f"{monitor.url}/runs")
        live(page)
        with page.expect_response(lambda answer: answer.status == 304 and "/runs" in answer.url):
            pass
        row(page, "#runs", "success.*etl")
