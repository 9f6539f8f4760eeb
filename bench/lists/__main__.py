"""Whether ten thousand rows stay smooth in a real Chromium: `python -m bench.lists`.

Loads a list to its end, then measures while new events come in, and while it is scrolled: the times between
frames, long tasks (over 50 ms, as the Long Tasks API counts them), and how long the browser's main thread
took from one new event to its row.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright
from pydantic import SecretStr

from monitor.settings import Settings
from monitor.settings_loading import load_settings
from tests import wait
from tests.browser import world
from tests.browser.conftest import CHROMIUM, QUIET
from tests.unit.conftest import LONG_AFTER, make_secret
from tests.unit.web_support import Served, serving

ROWS = 10_000
BATCH = 500
NEW = 40  # events that come one by one while it is measured
COUNT = "document.querySelectorAll('.rows .row').length"
WATCH = """() => {
    window.frames_ = []; window.long_ = [];
    let last = performance.now();
    const frame = (now) => { window.frames_.push(now - last); last = now; requestAnimationFrame(frame); };
    requestAnimationFrame(frame);
    new PerformanceObserver((list) => window.long_.push(...list.getEntries().map((one) => one.duration)))
        .observe({ type: "longtask" });
}"""
CLEAR = "() => { window.frames_.length = 0; window.long_.length = 0; }"
READ = "() => ({ frames: window.frames_, long: window.long_ })"


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as home,
        serving(_settings(Path(home))) as monitor,
        sync_playwright() as play,
    ):
        for start in range(0, ROWS + BATCH, BATCH):
            monitor.post([_run(number) for number in range(start, start + BATCH)])
        browser = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        for path in ("/runs", "/events/list"):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(monitor.url + path)
            page.evaluate(WATCH)
            _load_all(page)
            print(path, json.dumps(_measure(monitor, page)), flush=True)
            page.close()
        browser.close()


def _settings(home: Path) -> Settings:
    secret = (SecretStr(make_secret()),)
    return load_settings(
        env_file=None, home=home, port=0, auth="none", ingest_secret=secret, notify_max_age_hours=LONG_AFTER
    )


def _run(number: int) -> dict[str, Any]:
    return world.run_of("success", f"etl_{number % 40}", f"scheduled__{number:06}", 90_000 - number, 1)


def _load_all(page: Page) -> None:
    def at_the_end() -> bool:
        page.keyboard.press("End")
        return bool(page.evaluate(COUNT) >= ROWS)

    wait.until(at_the_end, f"{ROWS} rows", 240)


def _measure(monitor: Served, page: Page) -> dict[str, Any]:
    loaded = page.evaluate(READ)
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(1000)
    page.evaluate(CLEAR)
    for number in range(NEW):
        monitor.post([_run(1_000_000 + number)])
        page.wait_for_timeout(250)
    live = page.evaluate(READ)
    page.evaluate(CLEAR)
    page.mouse.move(600, 500)
    for _ in range(120):
        page.mouse.wheel(0, 900)
        page.wait_for_timeout(16)
    return {
        "rows": page.evaluate(COUNT),
        "loading": _told(loaded),
        "new_events": _told(live),
        "scrolling": _told(page.evaluate(READ)),
    }


def _told(seen: dict[str, list[float]]) -> dict[str, Any]:
    frames, long = sorted(seen["frames"]), seen["long"]
    return {
        "frames": len(frames),
        "median_ms": round(frames[len(frames) // 2], 1),
        "p99_ms": round(frames[int(len(frames) * 0.99)], 1),
        "long_tasks": len(long),
        "longest_ms": round(max(long, default=0)),
    }


if __name__ == "__main__":
    main()
