"""Every page of the app, by its own routes: a page that is new is among them, and one that cannot be opened
here fails the test that walks them."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi.routing import APIRoute
from playwright.sync_api import Browser, Page
from pydantic import SecretStr

from monitor.settings import Settings
from monitor.settings_loading import load_settings
from monitor.web.routes import ROUTERS
from tests import wait
from tests.browser.asset_world import URI, train
from tests.sample import run_event, task_event
from tests.unit.conftest import LONG_AFTER, make_secret
from tests.unit.web_support import Served, serving

DAG, RUN = "nightly", "scheduled__2026-11-25T02:00:00+00:00"
LONG = "a_name_that_is_far_longer_than_any_phone_is_wide_" * 3
ERROR = {"type": "ValueError", "message": "column 'target' is missing", "traceback": "Traceback\n  line 1"}
RULES = """
receivers:
  ops: {email: [ops@example.com, the.other.operators@example.com]}
quiet_hours:
  night: {start: "22:00", end: "07:00", days: [mon, tue]}
rules:
  - {name: failures, notify_on: [first_failure, recovered], to: [ops], repeat: 4h}
  - {name: a night's work, match: {dag_id: "load_*"}, notify_on: every_failure, to: ops, quiet_hours: night}
watches:
  - {name: fresh models, watch: stale, asset: "*.pkl", after: 2h}
"""
FRAMES = re.compile(r"/html$")
"""A letter in a frame of its own, in which no script runs: tests/unit/mail_lint.py looks at letters."""
PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
AXE = Path("tests/npm/node_modules/axe-core/axe.min.js")
DEADLINE_MS = 20_000


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core, to be evaluated in a page."""
    if not AXE.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{AXE} is missing: make tests/npm/node_modules/.made")
        pytest.skip(f"{AXE} is missing: make tests/npm/node_modules/.made")
    return AXE.read_text(encoding="utf-8")


def own_settings(folder: Path, **changes: Any) -> Settings:
    return load_settings(
        env_file=None,
        home=folder,
        port=0,
        auth="none",
        ingest_secret=(SecretStr(make_secret()),),
        notification_email_to=("ops@example.com",),
        notify_max_age_hours=LONG_AFTER,
        **changes,
    )


@contextmanager
def furnished(folder: Path) -> Iterator[Served]:
    """A monitor with something on each of its pages."""
    (folder / "windsock.yaml").write_text(RULES)
    with serving(own_settings(folder, config=folder / "windsock.yaml")) as monitor:
        train(monitor, updates=6)
        for dag_id, run_id, start in ((DAG, RUN, 0), (LONG, LONG, 30), ("reports", "scheduled__1", 60)):
            monitor.post([task_event("failed", "extract", dag_id, run_id, error=ERROR, max_tries=1)])
            monitor.post([run_event("failed", dag_id, run_id, start=start, message="task_failure")])
        monitor.post([run_event("success", "reports", "scheduled__2", start=90)])
        monitor.post([run_event("running", "scoring", "asset_triggered__1", start=120)])
        silence = {
            "match": {"deployment": ["local"], "dag_id": ["other"]},
            "reason": "moved",
            "duration": "8h",
        }
        monitor.client.post("/api/v1/silences", json=silence)
        wait.until(lambda: monitor.client.get("/api/v1/deliveries?state=sent").json()["deliveries"], "a mail")
        yield monitor


@contextmanager
def bare(folder: Path) -> Iterator[Served]:
    """A monitor that has been told nothing yet."""
    with serving(own_settings(folder)) as monitor:
        yield monitor


def addresses(monitor: Served) -> list[str]:
    """Where the app answers with HTML, one address for each route, and some pages in other states."""
    routes = (route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute))
    paths = [
        route.path for route in routes if "GET" in (route.methods or ()) and not FRAMES.search(route.path)
    ]
    found = [filled(monitor, path) for path in paths]
    return [one for one in [*found, *in_other_states(monitor)] if one and is_html(monitor, one)]


def filled(monitor: Served, path: str) -> str | None:
    """A route's path with names that there are in place of its parameters. None: there is none here.
    Raises KeyError for a parameter that nobody has given a value: add it to `values` or `tokens`."""
    links = monitor.app.state.services.links
    tokens: dict[str, Callable[[], str]] = {
        "/links/silence/{token}": lambda: links.silence("local", DAG),
        "/links/acknowledge/{token}": lambda: links.acknowledge(1),
        "/links/unsubscribe/{token}": lambda: links.unsubscribe("jane.doe@example.com", "failures"),
    }
    if path in tokens:
        return tokens[path]().removeprefix(monitor.settings.url)
    values: dict[str, Callable[[], Any]] = {
        "deployment": lambda: "local",
        "dag_id": lambda: DAG,
        "run_id": lambda: RUN,
        "delivery_id": lambda: 1,
        "incident_id": lambda: 1,
        "silence_id": lambda: 1,
        "event_id": lambda: "run:none",
        "name": lambda: "run_failed",
        "letter_id": lambda: letter(monitor),
    }
    address = PARAMETER.sub(lambda found: quote(str(values[found[1]]()), safe=""), path)
    return f"{address}?uri={quote(URI, safe='')}" if path == "/assets/{deployment}" else address


def letter(monitor: Served) -> str:
    found = re.search(r'/mail/([^"/?]+)"', monitor.client.get("/mail").text)
    return found[1] if found else "none"


def in_other_states(monitor: Served) -> list[str]:
    return [
        "/nothing-here",
        "/incidents/999999",
        "/status?dag_id=nightly",
        "/status?dag_id=reports",
        f"/silences/new?deployment=local&dag_id={DAG}",
        "/mail?state=dead",
        f"/runs/local/{LONG}/{LONG}",
        "/links/silence/nonsense",
    ]


def is_html(monitor: Served, address: str) -> bool:
    with httpx.stream("GET", monitor.url + address, headers={"Accept": "text/html"}, timeout=20) as answer:
        return "text/html" in answer.headers.get("content-type", "")


@contextmanager
def a_page(browser: Browser, **options: Any) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
    context.set_default_timeout(DEADLINE_MS)
    yield context.new_page()
    context.close()
