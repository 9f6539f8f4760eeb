"""`windsock_client`: resuming, refusals, silence, closing. Across cuts and restarts: test_conformance.py."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from monitor.settings import Settings
from tests import wait
from tests.feed.canned import HEAD, Canned, answer
from tests.sample import asset_event, run_event, task_event
from tests.unit.conftest import settings
from tests.unit.web_support import Served, SignInAirflow, serving, with_sign_in
from windsock_client import Event, Feed, FeedError, FeedRefused, FeedUnavailable, Reset
from windsock_client.feed import MAX_PAGE
from windsock_client.formats import LINE_BYTES, MAX_LINE, MAX_VALUES, lines, ndjson, server_sent_events
from windsock_client.pace import LONGEST_ASKED, LONGEST_WAIT, Pace, retry_after
from windsock_client.records import Item

__all__ = ["settings"]

LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)
SOON = 20.0


@pytest.fixture
def monitor(settings: Settings) -> Iterator[Served]:
    with serving(settings) as monitor:
        yield monitor


def take(feed: Feed, count: int) -> list[Event]:
    found = list(islice(feed, count))
    assert all(isinstance(item, Event) for item in found)
    return [item for item in found if isinstance(item, Event)]


def sse(number: int, told: dict[str, Any]) -> bytes:
    body = json.dumps(told, ensure_ascii=False)
    return f"id: e-{number}\nevent: {told['type']}\ndata: {body}\n\n".encode()


def line(number: int, told: dict[str, Any]) -> bytes:
    return json.dumps({"id": f"e-{number}", "event": told}, ensure_ascii=False).encode() + b"\n"


def test_an_event_is_typed(monitor: Served) -> None:
    told = task_event("failed", error={"type": "ValueError", "message": "no"})
    monitor.post([told])
    with Feed(monitor.url, since=LONG_AGO) as feed:
        (event,) = take(feed, 1)
    assert (event.id, event.type, event.source) == (told["id"], told["type"], "/airflow/local")
    assert (event.subject, event.deployment) == ("etl/manual__1/load", "local")
    assert event.time == datetime(2026, 11, 22, 10, 0, 5, tzinfo=timezone.utc)
    assert event.data["error"]["message"] == "no"
    assert event.raw == told
    assert event.cursor == feed.cursor


def test_filters(monitor: Served) -> None:
    monitor.post([run_event(), run_event(dag_id="report"), task_event(dag_id="report"), asset_event(1)])
    with Feed(monitor.url, since=LONG_AGO, type=["airflow.dag_run.*", "airflow.asset.*"], state="s*") as feed:
        assert [event.data["dag_id"] for event in take(feed, 2)] == ["etl", "report"]
    with Feed(monitor.url, since=LONG_AGO, dag_id=["rep*"], task_id=["load"]) as feed:
        assert take(feed, 1)[0].type == "airflow.task_instance.success"
    with Feed(monitor.url, since=LONG_AGO, asset="file:///*") as feed:
        assert take(feed, 1)[0].type == "airflow.asset.updated"


def test_leaving_the_loop_keeps_the_place(monitor: Served) -> None:
    monitor.post([run_event(run_id=str(number)) for number in range(6)])
    with Feed(monitor.url, since=LONG_AGO) as feed:
        first = take(feed, 2)
        second = take(feed, 2)
    with Feed(monitor.url, after=second[-1].cursor) as feed:
        third = take(feed, 2)
    assert [event.data["run_id"] for event in first + second + third] == list("012345")


def test_a_heartbeat_moves_the_cursor() -> None:
    with Canned(HEAD + b": heartbeat\nid: e-7\n\n") as server, Feed(server.url, after="e-1") as feed:
        reader = threading.Thread(target=take, args=(feed, 1), daemon=True)
        reader.start()
        wait.until(lambda: feed.cursor == "e-7", "the heartbeat")
        feed.close()
        reader.join(SOON)
        assert not reader.is_alive()


def test_a_cursor_and_an_interruption_are_reported_before_what_follows() -> None:
    """An exception of a callback ends the iteration, and closing in one still hands out the item."""
    seen: list[str] = []
    first = HEAD + b": heartbeat\nid: e-1\n\n" + sse(2, run_event("running"))
    with (
        Canned(first, HEAD + sse(3, run_event())) as server,
        Feed(server.url, silence=0.3, on_cursor=seen.append, on_interruption=seen.append) as feed,
    ):
        seen += [f"took {event.cursor}" for event in take(feed, 2)]
    assert [*seen[:2], *seen[3:]] == ["e-1", "e-2", "e-3", "took e-2", "took e-3"]
    assert "timed out" in seen[2]

    with Canned(HEAD + sse(1, run_event()) + sse(2, run_event())) as server:
        closing = Feed(server.url, on_cursor=lambda _: closing.close())
        assert [item.cursor for item in closing] == ["e-1"]

    def give_up(reason: str) -> None:
        raise TimeoutError(reason)

    with (
        Canned(answer("503 Service Unavailable", b'{"detail": "busy"}')) as server,
        Feed(server.url, on_interruption=give_up) as feed,
        pytest.raises(TimeoutError, match="busy"),
    ):
        take(feed, 1)


def test_a_page_of_the_api(settings: Settings) -> None:
    airflow = SignInAirflow()
    airflow.add("ann", "pw", ["etl"])
    with airflow.serving(), serving(with_sign_in(settings, airflow)) as monitor:
        monitor.post([run_event(), run_event("failed"), run_event(dag_id="secret")])
        with Feed(monitor.url, token=airflow.token("ann")) as feed:
            page = feed.get_json("/api/v1/events", {"dag_id": ["e*", "s*"], "limit": 1})
        assert [row["event"]["data"]["dag_id"] for row in page["events"]] == ["etl"]
        with Feed(monitor.url) as feed, pytest.raises(FeedRefused) as refused:
            feed.get_json("/api/v1/events")
        assert refused.value.status == 401


PAGES = [
    (answer("503 Service Unavailable", b'{"detail": "busy"}'), FeedUnavailable, "busy"),
    (answer("200 OK", b"<html>", Content_Type="text/html"), FeedRefused, "text/html, which is no JSON"),
    (answer("200 OK", b"{", Content_Type="application/json"), FeedError, "is no JSON"),
    (answer("200 OK", b"[" * 100_000, Content_Type="application/json"), FeedError, "nested too deeply"),
    (
        answer("200 OK", b"[0" + b",0" * MAX_VALUES + b"]", Content_Type="application/json"),
        FeedError,
        "values",
    ),
    (answer("200 OK", b" " * (MAX_PAGE + 1), Content_Type="application/json"), FeedError, "is longer than"),
]


@pytest.mark.parametrize(("told", "error", "words"), PAGES, ids=[words for _, _, words in PAGES])
def test_what_is_no_page_is_an_error(told: bytes, error: type[FeedError], words: str) -> None:
    with Canned(told) as server, Feed(server.url) as feed, pytest.raises(error, match=words) as raised:
        feed.get_json("/api/v1/events")
    assert raised.type is error


def test_a_dead_connection_is_noticed_and_resumed() -> None:
    """The first connection falls silent in the middle of an event; nobody closes it."""
    first = HEAD + sse(1, run_event("running")) + sse(2, run_event("success"))[:-1]
    with (
        Canned(first, HEAD + sse(2, run_event("success"))) as server,
        Feed(server.url, silence=0.3) as feed,
    ):
        events = take(feed, 2)
    assert [event.cursor for event in events] == ["e-1", "e-2"]
    assert "Last-Event-ID: e-1" in server.requests[1]


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable", "502 Bad Gateway"])
def test_later_is_asked_again(status: str, caplog: pytest.LogCaptureFixture) -> None:
    busy = answer(status, b'{"detail": "500 feeds are open"}', Retry_After="1")
    with Canned(busy, HEAD + sse(1, run_event())) as server, Feed(server.url) as feed:
        assert take(feed, 1)[0].cursor == "e-1"
    assert "500 feeds are open" in caplog.text


def test_an_answer_that_breaks_off_in_its_head_is_asked_for_again() -> None:
    """http.client takes what came of the head for all of it."""
    with Canned(b"HTTP/1.1 200 OK\r\nconten", HEAD + sse(1, run_event())) as server, Feed(server.url) as feed:
        assert take(feed, 1)[0].cursor == "e-1"


REFUSALS = [
    (answer("401 Unauthorized", b'{"detail": "sign in"}'), 401, "sign in"),
    (answer("403 Forbidden", b"<html>"), 403, "403 Forbidden"),
    (answer("404 Not Found"), 404, "404 Not Found"),
    (answer("302 Found", Location="https://sso.example.com/"), 302, "redirects to https://sso.example.com/"),
    (answer("204 No Content"), 204, "204"),
    (
        answer("200 OK", b"<html>", Content_Type="text/html; charset=utf-8"),
        200,
        "text/html, which is no feed",
    ),
]


@pytest.mark.parametrize(("told", "status", "words"), REFUSALS)
def test_a_refusal_is_raised_and_not_repeated(told: bytes, status: int, words: str) -> None:
    with Canned(told, told) as server, Feed(server.url) as feed:
        with pytest.raises(FeedRefused, match=words) as refused:
            take(feed, 1)
        assert refused.value.status == status
        assert len(server.requests) == 1


def test_a_wrong_token_is_refused_and_a_right_one_is_asked_for_each_time(settings: Settings) -> None:
    airflow = SignInAirflow()
    airflow.add("ann", "pw", ["etl"])
    with airflow.serving(), serving(with_sign_in(settings, airflow)) as monitor:
        with (
            Feed(monitor.url, token="nonsense") as feed,
            pytest.raises(FeedRefused, match="token") as refused,
        ):
            take(feed, 1)
        assert refused.value.status == 401
        monitor.post([run_event(), run_event(dag_id="secret"), run_event("failed")])
        tokens = [airflow.token("ann"), airflow.token("ann")]
        given = iter(tokens)
        with Feed(monitor.url, token=lambda: next(given), since=LONG_AGO) as feed:
            told = take(feed, 1) + take(feed, 1)
        assert [event.data["state"] for event in told] == ["success", "failed"]


def test_a_token_that_no_header_can_carry_is_not_repeated() -> None:
    with Canned(HEAD) as server, Feed(server.url, token="wst_one\nwst_two") as feed:
        with pytest.raises(FeedError, match="token: holds") as error:
            take(feed, 1)
        assert "wst_" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("windsock.example.com", {}, "is not an address"),
        ("ftp://windsock.example.com", {}, "is not an address"),
        ("https://me:secret@windsock.example.com", {}, "give a token"),
        ("https://windsock.example.com/?type=x", {}, "filters are parameters"),
        ("https://windsock.example.com", {"dagid": "etl"}, "dagid: is no filter; there are deployment"),
        ("https://windsock.example.com", {"after": "e-1\r\nX: y"}, "after: .* is no cursor"),
        ("https://windsock.example.com", {"since": datetime(2026, 1, 1)}, "no time zone"),  # noqa: DTZ001
    ],
)
def test_a_wrong_parameter_is_named(url: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        Feed(url, **options)
    assert "secret" not in str(error.value)


def test_behind_a_path_prefix() -> None:
    with Canned(HEAD + sse(1, run_event())) as server, Feed(f"{server.url}/wind/", dag_id="e t l&") as feed:
        take(feed, 1)
    assert server.requests[0].startswith("GET /wind/events?dag_id=e+t+l%26 HTTP/1.1\r\n")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


def test_tls_with_a_ca_file(authority: trustme.CA, tls: ssl.SSLContext, tmp_path: Path) -> None:
    """… and close() wakes a read over TLS too."""
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    found: list[Item] = []
    with Canned(HEAD + sse(1, run_event()), tls=tls) as server, Feed(server.url, ca_file=ca_file) as feed:
        reader = threading.Thread(target=lambda: found.extend(feed), daemon=True)
        reader.start()
        wait.until(lambda: feed.cursor == "e-1", "the event")
        feed.close()
        reader.join(SOON)
        assert not reader.is_alive()
    assert len(found) == 1


def test_a_certificate_that_is_not_trusted_is_an_error(tls: ssl.SSLContext) -> None:
    with Canned(HEAD, tls=tls) as server, Feed(server.url) as feed, pytest.raises(FeedError, match="ca_file"):
        take(feed, 1)


def test_closing_ends_a_wait_for_the_monitor() -> None:
    with Canned() as nobody:
        url = nobody.url
    feed = Feed(url)  # nobody listens there: it waits and tries, for ever
    reader = threading.Thread(target=list, args=(feed,), daemon=True)
    reader.start()
    feed.close()
    reader.join(SOON)
    assert not reader.is_alive()


def test_what_is_no_event_is_an_error() -> None:
    with Canned(HEAD + b"id: e-1\ndata: {\n\n") as server, Feed(server.url) as feed:
        with pytest.raises(FeedError, match="what is told at e-1 is no event"):
            take(feed, 1)
        assert feed.cursor is None


NONSENSE = [
    b"id: \xb2\n\n",
    b"id: \x1b]0;x\x07\n\n",
    b"id: " + b"9" * 5_000 + b"\n\n",
    b"event: \xff\ndata: {}\n\n",
    b"id: e-1\ndata: [" + b"[]," * MAX_VALUES + b"0]\n\n",
    *(
        sse(1, run_event() | change)
        for change in ({"id": 5}, {"data": [1]}, {"time": "0001-01-01T00:00:00+14:00"}, {"time": None})
    ),
]


@pytest.mark.parametrize("told", NONSENSE)
def test_nonsense_of_a_monitor_is_a_feed_error_of_one_line(told: bytes) -> None:
    with pytest.raises(FeedError) as error:
        list(server_sent_events(lines([told]), "", lambda _: None))
    assert str(error.value).isprintable()


@pytest.mark.parametrize("told", [b"5", b"[]", b'{"id": [1]}', b'{"id": "a\\r\\nX: y"}', b"1" * 5_000])
def test_nonsense_as_ndjson_is_a_feed_error(told: bytes) -> None:
    with pytest.raises(FeedError):
        list(ndjson([told], ""))


def test_a_retry_of_any_length_is_a_number() -> None:
    asked: list[float] = []
    list(server_sent_events([b"retry: " + b"9" * 5_000, b"retry: 2000"], "", asked.append))
    assert asked == [float("inf"), 2.0]


def test_a_line_without_an_end_is_an_error() -> None:
    with pytest.raises(FeedError, match="longer than"):
        list(lines(iter([b"x" * 2**20] * (MAX_LINE // 2**20 + 1))))


def test_a_message_without_an_end_is_an_error() -> None:
    told = [b"data: " + b"x" * 2**20] * (MAX_LINE // 2**20 + 1)
    with pytest.raises(FeedError, match="a message is longer than"):
        list(server_sent_events(told, "", lambda _: None))


def test_a_message_of_short_lines_without_an_end_is_an_error() -> None:
    with pytest.raises(FeedError, match="a message is longer than"):
        list(server_sent_events(iter([b"data: x"] * (MAX_LINE // LINE_BYTES)), "", lambda _: None))


def test_a_server_that_never_comes_to_its_status_is_left() -> None:
    """Each `100 Continue` is read in time, so only a deadline for all of them ends it."""
    listening = socket.create_server(("127.0.0.1", 0))
    came = threading.Semaphore(0)

    def serve() -> None:
        while True:
            try:
                connected, _ = listening.accept()
            except OSError:
                return
            came.release()
            with connected, suppress(OSError):
                while True:
                    connected.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    feed = Feed(f"http://127.0.0.1:{listening.getsockname()[1]}", silence=0.5)
    reader = threading.Thread(target=lambda: list(feed), daemon=True)
    reader.start()
    try:
        for _ in range(2):  # it asks again: the first answer was given up
            assert came.acquire(timeout=SOON)
    finally:
        feed.close()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
    reader.join(SOON)
    assert not reader.is_alive()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1), st.data())
def test_however_the_stream_is_cut(texts: list[str], data: st.DataObject) -> None:
    """In both forms: whatever the parts, and wherever it ends, what is whole is told and nothing else."""
    told = [run_event(run_id=text) for text in texts]
    for form in (sse, line):
        whole = [form(number, each) for number, each in enumerate(told)]
        stream = b"".join(whole)[: data.draw(st.integers(0, sum(map(len, whole))))]
        ends = [len(b"".join(whole[: number + 1])) for number in range(len(whole))]
        complete = sum(end <= len(stream) for end in ends)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
        parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        found = list(_parsed(form is line, parts))
        assert [item.raw for _, item in found if isinstance(item, Event)] == told[:complete]
        assert [cursor for cursor, _ in found] == [f"e-{number}" for number in range(complete)]


def _parsed(as_lines: bool, parts: list[bytes]) -> Iterator[tuple[str, Item | None]]:
    whole = lines(iter(parts))
    return ndjson(whole, "") if as_lines else server_sent_events(whole, "", lambda _: None)


RECORDED = (
    b'{"id":"1a2b-4"}\n'
    b'{"id":"1a2b-5","reset":{"reason":"the cursor is older than what the log keeps","cursor":"1a2b-5"}}\n'
) + json.dumps({"id": "1a2b-6", "event": run_event()}).encode()


def test_ndjson_as_it_comes() -> None:
    beginning = HEAD.replace(b"text/event-stream", b"application/x-ndjson")
    with Canned(beginning + RECORDED + b"\n") as server, Feed(server.url, form="ndjson") as feed:
        gap, event = islice(feed, 2)
    assert gap == Reset("1a2b-5", "the cursor is older than what the log keeps")
    assert isinstance(event, Event)
    assert (event.cursor, event.raw) == ("1a2b-6", run_event())
    assert "Accept: application/x-ndjson\r\n" in server.requests[0]


def test_ndjson_from_a_monitor(monitor: Served) -> None:
    """A monitor that has no NDJSON answers as Server-Sent Events, and the reader need not know."""
    told = [run_event("running"), run_event()]
    monitor.post(told)
    with Feed(monitor.url, since=LONG_AGO, form="ndjson") as feed:
        assert [event.raw for event in take(feed, 2)] == told


def test_the_wait_grows_and_is_bounded() -> None:
    pace = Pace()
    pace.retry(2.0)
    waits = [pace.wait() for _ in range(40)]
    assert 2.0 <= waits[0] <= 3.0
    assert LONGEST_WAIT <= waits[-1] <= LONGEST_WAIT * 1.5
    pace.reset()
    assert 2.0 <= pace.wait() <= 3.0
    assert pace.wait(1e9) <= LONGEST_ASKED * 1.5


def test_retry_after() -> None:
    now = datetime(2026, 11, 22, 10, 0, tzinfo=timezone.utc)
    assert retry_after("120") == 120
    assert retry_after("Sun, 22 Nov 2026 10:00:30 GMT", now) == 30
    assert retry_after("Sun, 22 Nov 2026 10:00:30 GMT", now + timedelta(hours=1)) == 0
    assert retry_after("soon") == 0
    assert retry_after("\xb2") == 0
    assert retry_after("Mon, 01 Jan 99999 00:00:00 GMT") == 0
    assert Pace().wait(retry_after("9" * 400)) <= LONGEST_ASKED * 1.5
    assert retry_after(None) == 0
