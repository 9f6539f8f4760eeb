"""Bounds of the HTTP server: request heads, trailers, the time for heads, bodies and answers,
answers that are not read, bodies that are held, connections."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

import httpx
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.app import create_app
from monitor.cli.typer_app import listen
from monitor.observability.metrics import Metrics
from monitor.settings import Settings
from monitor.web.api.ingest import MAX_BODY
from monitor.web.http_protocol import (
    MAX_HEADER,
    MAX_HEADERS,
    MAX_HELD,
    MAX_PIPELINED,
    MAX_TARGET,
    RATE_SECONDS,
    RETRY_SECONDS,
    BodyLimitMiddleware,
    BodyRefused,
)
from monitor.web.security import HEADERS
from monitor.web.server import HttpServer
from tests import wait
from tests.sample import task_event
from tests.unit.conftest import FakeClock, sign

FLOOD = 8 * 1024 * 1024  # bytes: what a sender without a key tries to have kept
PIECE = 64 * 1024
SOON = 0.3  # seconds: a deadline that a test can wait for
LONG = 60.0
OPENAPI = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
UNREAD = OPENAPI * MAX_PIPELINED
TYPES = {b"400": "not-http", b"414": "address", b"431": "head"}


@contextmanager
def serving(settings: Settings, **bounds: float) -> Iterator[int]:
    """Serve a monitor with these bounds; give its port."""
    listening = listen("127.0.0.1", 0)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE)  # the kernel takes no more of an answer
    server = HttpServer(create_app(settings), "127.0.0.1", 0, **bounds)  # type: ignore[arg-type]
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True)
    thread.start()
    wait.until(lambda: server.started or not thread.is_alive(), "the monitor to start")
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()


def connect(port: int, own_address: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(own_address, 0))


def ask_and_not_read(port: int, requests: bytes) -> socket.socket:
    """Send requests over a connection that takes very little of the answers by itself."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", port))
    with suppress(OSError):  # ended already, to make room
        connection.sendall(requests)
    return connection


def unsigned(length: int) -> bytes:
    """The head of a batch with a signature that nobody made."""
    return (
        b"POST /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nwebhook-id: a\r\nwebhook-signature: v1,AAAA\r\n"
        b"Content-Type: application/cloudevents-batch+json\r\nwebhook-timestamp: %d\r\n"
        b"Content-Length: %d\r\n\r\n"
    ) % (time.time(), length)


def read_until(connection: socket.socket, end: bytes) -> bytes:
    """Return what comes, up to where this has come."""
    answer = b""
    while end not in answer:
        part = connection.recv(65_536)
        assert part, f"the connection ended after {answer!r}"
        answer += part
    return answer


def counted(port: int, sample: str) -> float:
    """The value of a counter on /metrics; 0 where it is not there yet."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=20).text
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(sample + " "))


def cut(port: int, bound: str) -> float:
    """How many connections were ended for breaking a bound."""
    return counted(port, f'windsock_http_connections_cut_total{{bound="{bound}"}}')


def send_flood(port: int, beginning: bytes, piece: bytes) -> tuple[int, bytes]:
    """Send pieces until the server ends the connection; return how many bytes it took, and its answer."""
    with closing(connect(port)) as flood:
        flood.sendall(beginning)
        sent = 0
        try:
            while sent < FLOOD:
                flood.sendall(piece)
                sent += len(piece)
        except OSError:
            pass
        try:
            return sent, flood.recv(4096)
        except OSError:
            return sent, b""


def read_until_closed(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes the connection."""
    answer = b""
    try:
        while part := connection.recv(4096):
            answer += part
    except ConnectionResetError:
        pass
    return answer


def headers_of(head: bytes) -> httpx.Headers:
    lines = (line.partition(b": ") for line in head.split(b"\r\n")[1:])
    return httpx.Headers([(name, value) for name, _, value in lines])


def is_alive(port: int) -> bool:
    return httpx.get(f"http://127.0.0.1:{port}/livez", timeout=10).status_code == 200


GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("beginning", "piece"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1000) for n in range(64))),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"a" * PIECE),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"a" * PIECE),
        (b"GET /", b"a" * PIECE),
        (CHUNKED + b"0\r\n", b"X-T: " + b"a" * 1000 + b"\r\n"),
        (CHUNKED + b"0\r\nX-T: ", b"a" * PIECE),
        (CHUNKED + b"1;", b"a" * PIECE),
    ],
    ids=["headers", "a header", "a header's name", "the address", "trailers", "a trailer", "an extension"],
)
def test_a_head_without_end_is_cut(settings: Settings, beginning: bytes, piece: bytes) -> None:
    with serving(settings) as port:
        sent, _ = send_flood(port, beginning, piece)
        # What the kernel holds of it between both ends is megabytes; the rest of the flood was never taken.
        assert sent < FLOOD
        assert is_alive(port)


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET /livez?" + b"a" * (MAX_TARGET - 20) + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"200"),
        (b"GET /livez?" + b"a" * MAX_TARGET + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
        (GET + b"X: " + b"a" * (MAX_HEADER - 1) + b"\r\n\r\n", b"200"),
        (GET + b"X: " + b"a" * MAX_HEADER + b"\r\n\r\n", b"431"),
        (GET + b"X: %s\r\n" % (b"a" * 1000) * 30 + b"\r\n", b"200"),
        (GET + b"X: %s\r\n" % (b"a" * 1000) * 40 + b"\r\n", b"431"),
        (GET + b"X: \r\n" * (MAX_HEADERS - 1) + b"\r\n", b"200"),
        (GET + b"X: \r\n" * MAX_HEADERS + b"\r\n", b"431"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
    ids=[
        "a long address",
        "too long an address",
        "a long header",
        "too long a header",
        "a long head",
        "too long a head",
        "many headers",
        "too many headers",
        "no HTTP",
    ],
)
def test_the_answer_names_the_bound(settings: Settings, request_head: bytes, status: bytes) -> None:
    with serving(settings) as port, closing(connect(port)) as connection:
        connection.sendall(request_head)
        connection.shutdown(socket.SHUT_WR)
        answer = read_until_closed(connection)
        assert answer.split(b" ")[1] == status
        head, _, body = answer.partition(b"\r\n\r\n")
        assert {name.lower() for name in HEADERS} <= set(headers_of(head))
        if status != b"200":
            problem = json.loads(body)
            assert problem["status"] == int(status)
            assert problem["type"] == f"/docs#problem-{TYPES[status]}"


def test_no_refusal_stands_within_another_answer(settings: Settings) -> None:
    with serving(settings) as port, closing(connect(port)) as feed:
        feed.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = feed.recv(4096)
        feed.sendall(b"nonsense\r\n\r\n")
        assert b"HTTP/1.1 400" not in answer + read_until_closed(feed)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nHos",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HTTP/1.1\r\n",
    ],
    ids=["nothing", "half a head", "half of a second head"],
)
def test_a_head_has_a_deadline(settings: Settings, sent: bytes) -> None:
    with serving(settings, head_seconds=SOON) as port, closing(connect(port)) as connection:
        connection.sendall(sent)
        read_until_closed(connection)  # its own timeout is the deadline
        assert is_alive(port)


def test_a_body_has_a_deadline(settings: Settings) -> None:
    with serving(settings, body_seconds=SOON) as port, closing(connect(port)) as connection:
        connection.sendall(b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
        read_until_closed(connection)
        assert is_alive(port)


def test_an_idle_connection_ends(settings: Settings) -> None:
    with serving(settings, idle_seconds=SOON) as port, closing(connect(port)) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_until_closed(connection).startswith(b"HTTP/1.1 200")


def test_a_feed_outlives_both_deadlines(settings: Settings) -> None:
    with serving(settings, head_seconds=SOON, body_seconds=SOON) as port, closing(connect(port)) as feed:
        feed.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert feed.recv(4096).startswith(b"HTTP/1.1 200")
        end = time.monotonic() + 3 * SOON
        feed.settimeout(SOON)
        while time.monotonic() < end:
            with suppress(TimeoutError):
                assert feed.recv(4096), "the feed was ended"


def test_half_open_connections_give_way_to_new_ones(settings: Settings) -> None:
    with serving(settings, most_connections=20, head_seconds=LONG) as port:
        half_open = [connect(port) for _ in range(40)]
        for each in half_open:
            each.sendall(b"GET / HTTP/1.1\r\nHos")
        assert is_alive(port)
        wait.until(lambda: sum(map(_is_closed, half_open)) >= 20, "the oldest to be ended")
        for each in half_open:
            each.close()
        assert is_alive(port)


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n\r\n",
        UNREAD,
    ],
    ids=["half a body", "nothing more", "an empty line", "what is not read"],
)
def test_connections_that_wait_for_their_clients_give_way_to_new_ones(
    settings: Settings, sent: bytes
) -> None:
    with serving(settings, most_connections=5, idle_seconds=LONG) as port, ExitStack() as connections:
        for _ in range(10):
            connections.enter_context(closing(ask_and_not_read(port, sent)))
        wait.until(lambda: _answers(port), "others to be answered")


@pytest.mark.parametrize(
    "last", [b"", OPENAPI.replace(b"Host", b"Connection: close\r\nHost")], ids=["kept", "last"]
)
def test_an_answer_that_is_not_read_has_a_deadline(settings: Settings, last: bytes) -> None:
    """Also one after which the server closes the connection itself."""
    with serving(settings, write_seconds=SOON) as port, closing(ask_and_not_read(port, UNREAD + last)):
        wait.until(lambda: cut(port, "write_seconds"), "the connection to be ended")


def test_a_feed_that_is_not_read_has_a_deadline(settings: Settings) -> None:
    events = [task_event(run_id=str(number), error={"message": "x" * 100_000}) for number in range(30)]
    body = json.dumps(events)
    with serving(settings, write_seconds=SOON) as port:
        headers = sign(settings.ingest_secret[0].get_secret_value(), body)
        sent = httpx.post(f"http://127.0.0.1:{port}/api/v1/events", content=body, headers=headers, timeout=20)
        assert sent.json()["accepted"] == len(events)
        ask = b"GET /events?since=2020-01-01T00:00:00Z HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        with closing(ask_and_not_read(port, ask)):
            wait.until(lambda: cut(port, "write_seconds"), "the feed to be ended")
            wait.until(lambda: counted(port, "windsock_feed_subscribers") == 0, "its reader to be gone")


def test_an_answer_that_is_read_late_is_whole(settings: Settings) -> None:
    with serving(settings, idle_seconds=SOON) as port, closing(ask_and_not_read(port, UNREAD)) as connection:
        end = time.monotonic() + 3 * SOON  # longer than a connection may be idle
        wait.until(lambda: time.monotonic() > end, "the time in which nothing is read")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, FLOOD)
        assert read_until_closed(connection).count(b"HTTP/1.1 200") == UNREAD.count(b"GET")


def test_what_is_not_read_of_all_answers_has_an_end(settings: Settings) -> None:
    with serving(settings, most_unread=100_000) as port, ExitStack() as connections:
        for _ in range(5):
            connections.enter_context(closing(ask_and_not_read(port, UNREAD)))
        wait.until(lambda: cut(port, "unread"), "the oldest to be ended")
        assert is_alive(port)


@pytest.mark.parametrize(("number", "is_cut"), [(MAX_PIPELINED + 1, False), (5 * MAX_PIPELINED, True)])
def test_pipelined_requests_are_so_many(settings: Settings, number: int, is_cut: bool) -> None:
    with serving(settings, idle_seconds=SOON) as port, closing(connect(port)) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * number)
        answers = read_until_closed(connection).count(b"HTTP/1.1 200")
        assert answers < number if is_cut else answers == number
        assert bool(cut(port, "pipelined")) == is_cut


def test_bodies_are_held_to_a_bound_in_all(settings: Settings) -> None:
    """Of the address that has most held, the oldest gives way: others are served however much it sends."""
    with serving(settings) as port, ExitStack() as connections:
        unended = [
            connections.enter_context(closing(connect(port, "127.0.0.2")))
            for _ in range(MAX_HELD // MAX_BODY + 1)
        ]
        for each in unended:
            each.sendall(unsigned(MAX_BODY) + b"x" * (MAX_BODY - 1))
        refusal = read_until(unended[0], b"\r\n\r\n")
        assert refusal.startswith(b"HTTP/1.1 503")
        assert b"retry-after: %d\r\n" % RETRY_SECONDS in refusal.lower()
        other = connections.enter_context(closing(connect(port, "127.0.0.3")))
        other.sendall(unsigned(PIECE) + b"x" * (PIECE - 1))
        refused = "windsock_http_bodies_refused_total"
        wait.until(lambda: counted(port, refused) == 2, "the next of the first address to be refused")
        other.sendall(b"x")
        read_until(other, b"HTTP/1.1 401")  # its signature was looked at
        unended[0].sendall(b"x" + unsigned(1) + b"x")  # the refused body's end; the connection serves on
        read_until(unended[0], b"HTTP/1.1 401")
        assert counted(port, refused) == 2
        assert counted(port, 'windsock_ingest_requests_refused_total{reason="memory"}') == 2


def test_slow_bodies_of_many_addresses_make_room_for_a_quick_one() -> None:
    """Each of them holds little, and the quick sender holds most of one address."""
    clock, most = FakeClock(), 20 * PIECE
    held = BodyLimitMiddleware(read_all, Metrics(), most, lambda: clock().timestamp())
    slow = [Sender(held, f"192.0.2.{number}") for number in range(30)]

    async def send() -> list[str]:
        for sender in slow:
            await sender.send(b"x" * PIECE)
            clock.forward(RATE_SECONDS)
        quick = Sender(held, "198.51.100.1")
        for _ in range(10):
            await quick.send(b"x" * PIECE)
            clock.forward(0.1)
        await quick.send(b"x", is_last=True)
        outcomes = [await quick.outcome]
        for sender in slow:
            sender.outcome.cancel()
        await asyncio.gather(*(sender.outcome for sender in slow), return_exceptions=True)
        return outcomes

    assert asyncio.run(send()) == ["read"]


class Sender:
    """A request that sends its body piece by piece to an application."""

    def __init__(self, app: ASGIApp, address: str) -> None:
        self._pieces: asyncio.Queue[Message] = asyncio.Queue()
        self._app = app
        self._address = address
        self._outcome: asyncio.Task[str] | None = None
        self._is_waiting = False

    @property
    def outcome(self) -> "asyncio.Task[str]":
        assert self._outcome is not None
        return self._outcome

    async def send(self, piece: bytes, is_last: bool = False) -> None:
        """Send a piece, and wait until it is read or the body is refused."""
        await self._pieces.put({"type": "http.request", "body": piece, "more_body": not is_last})
        if self._outcome is None:
            self._outcome = asyncio.create_task(self._run())
        is_read = asyncio.create_task(self._pieces.join())
        await asyncio.wait({is_read, self._outcome}, return_when=asyncio.FIRST_COMPLETED)
        is_read.cancel()

    async def _run(self) -> str:
        async def answer(_message: Message) -> None:
            """Take no notice."""

        async def receive() -> Message:
            if self._is_waiting:
                self._pieces.task_done()  # the application has done with the piece before
            self._is_waiting = True
            return await self._pieces.get()

        try:
            await self._app({"type": "http", "client": (self._address, 1)}, receive, answer)
        except BodyRefused:
            return "refused"
        return "read"


async def read_all(_scope: Scope, receive: Receive, _send: Send) -> None:
    while (await receive()).get("more_body"):
        pass


def test_a_newcomer_is_refused_when_all_connections_are_in_use(settings: Settings) -> None:
    with serving(settings, most_connections=5) as port:
        feeds = [connect(port) for _ in range(5)]
        for feed in feeds:
            feed.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert feed.recv(4096).startswith(b"HTTP/1.1 200")
        with closing(connect(port)) as newcomer:
            assert b" 503 " in read_until_closed(newcomer)
        feeds.pop().close()
        wait.until(lambda: _answers(port), "a place to be free again")
        for feed in feeds:
            feed.close()


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _answers(port: int) -> bool:
    try:
        return is_alive(port)
    except httpx.HTTPError:
        return False
