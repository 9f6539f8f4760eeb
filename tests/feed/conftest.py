"""What the feed's tests stand on: monitors as processes of their own, and a real browser."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import browser
from tests.feed.log import Log
from tests.monitor_process import MonitorProcess

__all__ = ["browser"]

Started = Callable[..., tuple[MonitorProcess, Log]]


@pytest.fixture(scope="module")
def monitors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """A monitor and its log, not started yet; settings by name."""
    made: list[tuple[MonitorProcess, Log]] = []

    def make(**settings: str) -> tuple[MonitorProcess, Log]:
        monitor = MonitorProcess(tmp_path_factory.mktemp("monitor"), settings)
        made.append((monitor, Log(monitor)))
        return made[-1]

    yield make
    for monitor, log in made:
        log.close()
        monitor.stop()


@pytest.fixture(scope="module")
def new_page(browser: Browser) -> Iterator[Callable[[], Page]]:
    context = browser.new_context()
    yield context.new_page
    context.close()


@pytest.fixture(scope="module")
def filled(monitors: Started) -> tuple[MonitorProcess, Log]:
    """A monitor that runs, with some events in its log."""
    monitor, log = monitors()
    log.append(20)
    return monitor.start(), log
