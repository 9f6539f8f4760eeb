"""Under a path of a reverse proxy's: every link has the prefix, whether the proxy cuts it off or not."""

import re
from collections.abc import Iterator

import pytest

from monitor.settings import Settings
from tests.sample import run_event
from tests.unit.web_support import Served, serving

PAGES = (
    "/",
    "/runs",
    "/assets",
    "/tokens",
    "/incidents",
    "/events/list",
    "/mail",
    "/silences",
    "/status",
    "/templates",
    "/settings",
    "/docs",
)


@pytest.fixture
def monitor(settings: Settings) -> Iterator[Served]:
    public = {"public_url": "http://127.0.0.1/ops/windsock"}
    with serving(settings.model_copy(update=public)) as monitor:
        monitor.post([run_event("failed")])
        yield monitor


@pytest.mark.parametrize("path", PAGES)
def test_each_page_is_there_with_the_prefix_and_without_and_links_with_it(monitor: Served, path: str) -> None:
    kept, cut = (monitor.client.get(prefix + path) for prefix in ("/ops/windsock", ""))
    assert kept.status_code == cut.status_code == 200
    for answer in (kept, cut):
        own = re.findall(r'(?:href|src|action|data-feed)="(/[^"]*)"', answer.text)
        assert own
        assert [link for link in own if not link.startswith("/ops/windsock/")] == []


def test_what_the_pages_load_is_there_both_ways(monitor: Served) -> None:
    for prefix in ("/ops/windsock", ""):
        assert monitor.client.get(f"{prefix}/static/page.js").status_code == 200
        assert monitor.client.get(f"{prefix}/api/v1/runs").json()["runs"]


def test_a_path_that_only_begins_alike_is_another(monitor: Served) -> None:
    assert monitor.client.get("/ops/windsocks/").status_code == 404


def test_a_redirect_stays_below_the_prefix(monitor: Served) -> None:
    answer = monitor.client.get("/ops/windsock/login")
    assert answer.headers["location"] == "/ops/windsock/"
