"""The feed over HTTP, from a real server: resuming, filters, slow readers, its end."""

import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from monitor.feed.connections import PAGE_CHARACTERS
from monitor.observability.metrics import Metrics
from monitor.settings import Settings
from tests import wait
from tests.sample import asset_event, run_event, task_event
from tests.unit.web_support import FeedReader, Served, serving


@pytest.fixture
def monitor(settings: Settings) -> Iterator[Served]:
    with serving(settings) as monitor:
        yield monitor


def runs(first: int, last: int) -> list[dict[str, Any]]:
    return [run_event(run_id=f"run_{number}") for number in range(first, last + 1)]


def run_ids(reader: FeedReader) -> list[str]:
    return [told["data"]["run_id"] for told in reader.events]


def test_every_event_comes_once_while_many_are_posted(monitor: Served) -> None:
    monitor.post(runs(1, 150))
    with FeedReader(monitor.url, "/events?since=2020-01-01T00:00:00Z") as reader:
        for first in range(151, 301, 10):
            monitor.post(runs(first, first + 9))
        reader.wait_for(300)
        assert run_ids(reader) == [f"run_{number}" for number in range(1, 301)]


def test_the_message_says_type_and_cursor(monitor: Served) -> None:
    with FeedReader(monitor.url) as reader:
        monitor.post([run_event("failed")])
        reader.wait_for(1)
        message = reader.messages[-1]
        assert message.event == "airflow.dag_run.failed"
        assert message.id.endswith("-1")
        assert reader.events == [run_event("failed")]
        assert any(message.retry for message in reader.messages)


def test_a_reader_resumes_across_a_restart(settings: Settings) -> None:
    with serving(settings) as monitor, FeedReader(monitor.url) as reader:
        monitor.post(runs(1, 3))
        reader.wait_for(3)
        last = reader.messages[-2].id  # as if the third had been lost on the way
    with serving(settings) as monitor:
        monitor.post(runs(4, 5))
        with FeedReader(monitor.url, headers={"Last-Event-ID": last}) as reader:
            reader.wait_for(3)
            assert run_ids(reader) == ["run_3", "run_4", "run_5"]


def test_the_header_goes_before_the_parameter(monitor: Served) -> None:
    with FeedReader(monitor.url) as reader:
        monitor.post(runs(1, 3))
        reader.wait_for(3)
        ids = [message.id for message in reader.messages if message.data]
    with FeedReader(monitor.url, f"/events?after={ids[0]}", {"Last-Event-ID": ids[1]}) as reader:
        reader.wait_for(1)
        assert run_ids(reader) == ["run_3"]
    with FeedReader(monitor.url, f"/events?after={ids[0]}") as reader:
        reader.wait_for(2)
        assert run_ids(reader) == ["run_2", "run_3"]


def test_a_cursor_of_another_log_is_reset(monitor: Served) -> None:
    monitor.post(runs(1, 2))
    with FeedReader(monitor.url, "/events?after=abcdef-1") as reader:
        reset, *events = reader.wait_for(3)
        assert "epoch" in reset["reason"]
        assert [told["data"]["run_id"] for told in events] == ["run_1", "run_2"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("dag_id=etl", ["run etl", "task etl"]),
        ("dag_id=etl&dag_id=report", ["run etl", "task etl", "run report"]),
        ("dag_id=*port*", ["run report"]),
        ("dag_id=etl&state=failed", ["task etl"]),
        ("type=airflow.dag_run.*", ["run etl", "run report"]),
        ("task_id=lo?d", ["task etl", "asset"]),
        ("run_id=manual__1&type=airflow.task*", ["task etl"]),
        ("asset=file:///m*", ["asset"]),
        ("deployment=loc*&asset=*", ["asset"]),
        ("deployment=elsewhere", []),
    ],
)
def test_filters(monitor: Served, query: str, expected: list[str]) -> None:
    batch = {
        "run etl": run_event("running", "etl"),
        "task etl": task_event("failed", dag_id="etl"),
        "run report": run_event("success", "report"),
        "asset": asset_event(1, source_dag_id="training"),
    }
    names = {told["id"]: name for name, told in batch.items()}
    start = "since=2020-01-01T00:00:00Z"
    monitor.post(list(batch.values()))
    with FeedReader(monitor.url, f"/events?{start}&{query}") as reader:
        reader.wait_for(len(expected))
        assert [names[told["id"]] for told in reader.events] == expected
    listed = monitor.client.get(f"/api/v1/events?{query}").json()["events"]
    assert [names[row["event"]["id"]] for row in reversed(listed)] == expected


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("after=nonsense", 400, "'nonsense'"),
        ("after=", 400, "epoch-seq"),
        ("since=yesterday", 400, "'yesterday'"),
        ("since=2026-11-22T10:00:00", 400, "zone"),
        ("dagid=etl", 422, "dagid"),
        ("dag_id=", 422, "dag_id"),
        ("dag_id=%00", 422, "NUL"),
        ("&".join(f"dag_id={number}" for number in range(30)), 422, "dag_id"),
    ],
)
def test_a_wrong_parameter_is_named(monitor: Served, query: str, status: int, words: str) -> None:
    answer = monitor.client.get(f"/events?{query}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]


def test_a_malformed_last_event_id_is_refused(monitor: Served) -> None:
    answer = monitor.client.get("/events", headers={"Last-Event-ID": "x"})
    assert answer.status_code == 400


def test_the_end_of_the_server_ends_the_feed_in_order(settings: Settings) -> None:
    with ExitStack() as afterwards:
        with serving(settings) as monitor:
            reader = afterwards.enter_context(FeedReader(monitor.url))
            monitor.post(runs(1, 1))
            reader.wait_for(1)
        wait.until(reader.ended.is_set, "the feed to end")
        assert reader.error is None  # a stream that is cut off would be a protocol error


def test_open_feeds_are_counted(monitor: Served) -> None:
    metrics: Metrics = monitor.app.state.services.metrics

    def open_feeds() -> float | None:
        return metrics.registry.get_sample_value("windsock_feed_subscribers")

    with FeedReader(monitor.url), FeedReader(monitor.url):
        wait.until(lambda: open_feeds() == 2, "two feeds to be counted")
    wait.until(lambda: open_feeds() == 0, "both to be counted off")


FILES = 128  # that the monitor may have open: half of them for feeds


def test_a_full_monitor_says_so_and_serves_the_next_once_a_reader_has_gone(settings: Settings) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    try:
        monitor = Served(settings)  # counts its room
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    monitor.start()
    try:
        with ExitStack() as stack:
            held = [stack.enter_context(_open_feed(monitor.port)) for _ in range(FILES // 2)]
            full = httpx.get(f"{monitor.url}/events", timeout=20, trust_env=False)
            assert full.status_code == 503
            assert full.headers["content-type"] == "application/problem+json"
            assert int(full.headers["retry-after"]) > 0
            assert f"{FILES // 2} feeds are open on this monitor" in full.json()["detail"]
            held[0].close()
            wait.until(lambda: _is_served(monitor.url), "the place to be given back")
    finally:
        monitor.stop()


def _open_feed(port: int) -> socket.socket:
    reader = socket.create_connection(("127.0.0.1", port), timeout=20)
    reader.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert reader.recv(4096).startswith(b"HTTP/1.1 200 ")
    return reader


def _is_served(url: str) -> bool:
    with httpx.stream("GET", f"{url}/events", timeout=20, trust_env=False) as answer:
        return answer.status_code == 200


BIG = "x" * 20_000
MANY = 1_500  # events of 20 kB: 30 MB, far more than the sockets' buffers hold
NEEDLE = b"event: airflow.task_instance"
BUFFERED = 16_000_000  # characters: what the kernel may take for a socket that nobody reads


def test_a_reader_that_does_not_read_holds_a_page_and_no_more(monitor: Served) -> None:
    pages: list[int] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "events.body" in statement and "seq >" in statement:
            pages.append(threading.get_ident())

    for first in range(0, MANY, 100):
        batch = [task_event(run_id=str(first + n), error={"message": BIG}) for n in range(100)]
        assert monitor.post(batch).json()["accepted"] == 100
    event.listen(monitor.app.state.services.database.engine, "before_cursor_execute", count)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        slow.connect(("127.0.0.1", monitor.port))
        slow.sendall(b"GET /events?since=2020-01-01T00:00:00Z HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        wait.until(lambda: pages, "the slow reader's first page")
        fast_pages, slow_pages = _pages_of_both(monitor, pages)
        assert 1 <= slow_pages <= BUFFERED // PAGE_CHARACTERS < fast_pages
        assert _read_all(slow) == MANY


def _pages_of_both(monitor: Served, pages: list[int]) -> tuple[int, int]:
    """How many pages the whole log has, and how many of them the slow reader had taken when another had read
    it twice over."""
    for _ in range(2):
        before = len(pages)
        with FeedReader(monitor.url, "/events?since=2020-01-01T00:00:00Z") as fast:
            fast.wait_for(MANY)
    whole = len(pages) - before
    return whole, len(pages) - 2 * whole


def _read_all(slow: socket.socket) -> int:
    """Read on until every event is there; answers how many came."""
    slow.settimeout(20)
    found, rest = 0, b""
    while found < MANY:
        read = rest + slow.recv(1 << 20)
        found += read.count(NEEDLE)
        rest = read[-(len(NEEDLE) - 1) :]  # too short to hold one that was counted
    return found


def test_head_answers_without_a_stream(monitor: Served) -> None:
    answer = monitor.client.head("/events")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_the_feed_may_not_be_cached_or_buffered(monitor: Served) -> None:
    with monitor.client.stream("GET", "/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
