"""The examples of docs/feed.md, taken out of the page and run, and what it says each reader does."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page

from monitor.feed.connections import HEARTBEAT_SECONDS, MAX_READERS, RETRY_MS
from monitor.feed.subscriber import RIGHTS_SECONDS
from monitor.web.query_params import MAX_GLOBS, MAX_NAME
from tests import wait
from tests.feed.canned import Canned, answer
from tests.feed.log import TYPES, Log
from tests.feed.readers import ChromiumEventSource, Reader, makers
from tests.feed.test_conformance import stopped
from tests.monitor_process import REPOSITORY, MonitorProcess
from windsock_client.feed import SILENCE_SECONDS

DOCS = (REPOSITORY / "docs" / "feed.md").read_text()
ADDRESS = "https://windsock.example.com"
NPM = REPOSITORY / "tests" / "npm" / "node_modules"
DEADLINE_MS = 20_000


def example(heading: str, url: str, number: int = 0) -> str:
    """A section's code, of the monitor at `url`."""
    section = re.split(rf"^### {re.escape(heading)}$", DOCS, flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", section, flags=re.MULTILINE)[0]
    code: str = re.findall(r"^```\w+\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)[number]
    assert ADDRESS in code
    return code.replace(ADDRESS, url)


@contextmanager
def running(monitor: MonitorProcess, command: list[str], folder: Path) -> Iterator[Callable[[], str]]:
    """A program that does not end by itself, with a token; gives what it has written so far."""
    made = httpx.post(
        f"{monitor.url}/api/v1/tokens", json={"name": "docs", "scopes": ["read"]}, trust_env=False
    )
    env = {"PATH": "/usr/bin:/bin", "WINDSOCK_TOKEN": made.json()["secret"], "PYTHONUNBUFFERED": "1"}
    env["PYTHONPATH"] = str(REPOSITORY / "client")
    written = folder / "written"
    with written.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield written.read_text
    finally:
        process.terminate()
        process.wait()


def test_javascript(filled: tuple[MonitorProcess, Log], new_page: Callable[[], Page]) -> None:
    """… in ten lines; and it goes on where an earlier visit came to."""
    monitor, log = filled
    code = example("JavaScript", monitor.url)
    assert len(code.splitlines()) == 10
    page, failed = new_page(), len([seq for seq in log.seqs() if seq % 4 == 3])
    told: list[str] = []
    page.on("console", lambda said: told.append(said.text) if said.text.startswith("airflow.") else None)
    page.goto(f"{monitor.url}/livez")
    page.evaluate(f"() => {{ {code} }}")
    _pumped(page, lambda: len(told) >= failed)
    page.goto(f"{monitor.url}/livez")
    page.evaluate(f"() => {{ {code} }}")
    log.append(4)
    _pumped(page, lambda: len(told) > failed)
    assert told[0].startswith("airflow.dag_run.failed {")
    assert len(told) == failed + 1
    page.close()


def _pumped(page: Page, condition: Callable[[], bool]) -> None:
    """Wait while Playwright hands on what the page says."""

    def look() -> bool:
        page.evaluate("1")
        return condition()

    wait.until(look, "what the page says")


def test_node(filled: tuple[MonitorProcess, Log], tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(NPM)
    program = tmp_path / "example.mjs"
    program.write_text(example("Node", filled[0].url))
    with running(filled[0], ["node", str(program)], tmp_path) as written:
        wait.until(lambda: written().count("etl/manual__1\n") >= 5, "the failed runs")


@pytest.mark.parametrize("heading", ["Python: `httpx-sse`", "Python: `windsock_client`"])
def test_python(filled: tuple[MonitorProcess, Log], tmp_path: Path, heading: str) -> None:
    program = tmp_path / "example.py"
    program.write_text(example(heading, filled[0].url))
    with running(filled[0], [sys.executable, str(program)], tmp_path) as written:
        wait.until(lambda: written().count("airflow.dag_run.failed") >= 5, "the failed runs")
        assert "missed" not in written()


def test_curl(filled: tuple[MonitorProcess, Log], tmp_path: Path) -> None:
    with running(filled[0], ["bash", "-c", example("curl", filled[0].url)], tmp_path) as written:
        wait.until(lambda: written().count("event: airflow.dag_run.") >= 10, "the runs")


def test_curl_ndjson(filled: tuple[MonitorProcess, Log], tmp_path: Path) -> None:
    with running(filled[0], ["bash", "-c", example("curl", filled[0].url, 1)], tmp_path) as written:
        wait.until(lambda: written().count('"specversion"') >= 10, "the runs")
        assert "data:" not in written()


def test_the_numbers() -> None:
    for said in (
        f"between {RETRY_MS[0] / 1000:.0f} and {RETRY_MS[1] / 1000:.0f} s",
        f"every {RIGHTS_SECONDS:.0f} s",
        f"nothing comes for {HEARTBEAT_SECONDS:.0f} s",
        f"{SILENCE_SECONDS:.0f} s without a byte",
        f"{MAX_READERS:,} feeds",
        f"At most {MAX_GLOBS} values of a filter, {MAX_NAME:,} characters each",
    ):
        assert said in DOCS, said


CORS = {"Access_Control_Allow_Origin": "*", "Connection": "close"}


class OnABlankPage(ChromiumEventSource):
    """Of another origin than the feed, which allows it."""

    def __init__(self, page: Page, url: str) -> None:
        Reader.__init__(self)
        self._page = page
        page.evaluate(self.SCRIPT, [url, TYPES])


@pytest.fixture(params=["Chromium", "npm eventsource", "httpx-sse", "curl", "windsock_client"])
def begin(
    request: pytest.FixtureRequest, new_page: Callable[[], Page]
) -> Callable[[str], tuple[str, Reader]]:
    """Begins one of the readers, and says which."""
    make = makers(new_page) | {"Chromium": lambda url: OnABlankPage(new_page(), url)}
    return lambda url: (request.param, make[request.param](url))


def test_who_takes_a_heartbeats_cursor(begin: Callable[[str], tuple[str, Reader]]) -> None:
    """… when the feed is cut off before the first event."""
    body = b"retry: 50\n\n: heartbeat\nid: e-7\n\n"
    told = answer("200 OK", body, Content_Type="text/event-stream", **CORS)
    with Canned(told, told) as server:
        name, reader = begin(f"{server.url}/events")
        try:
            wait.until(lambda: len(server.requests) == 2 and reader.count == 0, "the second request")
        finally:
            reader.close()
    takes = "last-event-id: e-7" in server.requests[1].lower()
    assert takes == (name != "npm eventsource")


def test_who_comes_back_after_a_503(begin: Callable[[str], tuple[str, Reader]]) -> None:
    later = answer("503 Service Unavailable", b"{}", Retry_After="0", **CORS)
    with Canned(later, later) as server:
        name, reader = begin(f"{server.url}/events")
        try:
            if name == "windsock_client":
                wait.until(lambda: len(server.requests) == 2, "the second request")
            else:
                wait.until(lambda: stopped(reader), "it to give up")
                assert len(server.requests) == 1
        finally:
            reader.close()
