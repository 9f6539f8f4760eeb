"""Apprise and webhooks against a real server of HTTP: what each answer means, and that no secret gets out."""

import asyncio
import json
import logging
import resource
import socket
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook

from monitor.clock import utc_now
from monitor.delivery.channels.apprise import MAX_HANGING, AppriseChannel, check_apprise_url
from monitor.delivery.channels.apprise_bounds import ANSWER_SECONDS, MAX_ANSWER, MAX_HEAD, BoundedResponse
from monitor.delivery.channels.base import Channel, OutgoingMessage
from monitor.delivery.channels.errors import (
    SendError,
    SendReceipt,
    SendRefused,
    TryLater,
    Unavailable,
    Uncertain,
    clean_reply,
)
from monitor.delivery.channels.webhook import WebhookChannel, webhook_id
from monitor.delivery.messages.renderer import Renderer
from monitor.rules.targets import ResolvedTarget
from tests.unit.conftest import make_secret
from tests.wait import DEADLINE

SECRET_PATH = "T1JJ3T3L2/TIiajkdnlazkcOXrIdevi7FQ"


@dataclass
class Sink:
    """A server of HTTP that keeps what it gets; `answer` is its status, headers and body."""

    answer: tuple[int, dict[str, str], bytes] = (200, {}, b"thanks")
    taken: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    hold: threading.Event | None = None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{SECRET_PATH}"


@pytest.fixture
def sink() -> Iterator[Sink]:
    here = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            here.taken.append((self.path, headers, body))
            if here.hold:
                here.hold.wait(10)
            status, more, answer = here.answer
            self.send_response(status)
            for name, value in {**more, "content-length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    here.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield here
    if here.hold:
        here.hold.set()
    server.shutdown()
    thread.join(DEADLINE)
    server.server_close()


def parcel(url: str, secret: str | None = None) -> OutgoingMessage:
    rendered = Renderer("windsock@example.com", "http://monitor", {}, utc_now).preview("run_failed")
    resolved = ResolvedTarget(SecretStr(url), SecretStr(secret) if secret else None, None)
    told = {"type": "windsock.notification.opened", "data": {"größe": 1}}
    return OutgoingMessage(
        "<windsock.local.1.2.abc@example.com>", "team#1", resolved, rendered, "opened", told
    )


def sent(sender: Channel, one: OutgoingMessage) -> SendReceipt:
    async def story() -> SendReceipt:
        try:
            await sender.open()
            return await sender.send(one)
        finally:
            await sender.close()

    return asyncio.run(story())


def test_a_webhook_is_signed_as_the_standard_says(sink: Sink) -> None:
    secret = make_secret()
    receipt = sent(WebhookChannel(utc_now), parcel(sink.url, secret))
    assert receipt == SendReceipt("200 thanks", ("team#1",))
    [(path, headers, body)] = sink.taken
    assert path == f"/{SECRET_PATH}"
    assert Webhook(secret).verify(body, headers) == {
        "type": "windsock.notification.opened",
        "data": {"größe": 1},
    }
    assert headers["webhook-id"] == webhook_id(parcel(sink.url).message_id)
    assert "." not in headers["webhook-id"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, SendRefused),
        (307, SendRefused),
        (400, SendRefused),
        (404, SendRefused),
        (408, TryLater),
        (410, SendRefused),
        (425, TryLater),
        (429, Unavailable),
        (500, TryLater),
        (503, Unavailable),
        (599, TryLater),
    ],
)
def test_what_a_webhooks_answer_means(sink: Sink, status: int, error: type[SendError]) -> None:
    sink.answer = (status, {"location": sink.url}, f"see {sink.url}".encode())
    with pytest.raises(SendError) as raised:
        sent(WebhookChannel(utc_now), parcel(sink.url, make_secret()))
    assert type(raised.value) is error
    assert str(status) in str(raised.value)
    assert SECRET_PATH.partition("/")[2] not in str(raised.value)
    assert len(sink.taken) == 1


@pytest.mark.parametrize(
    ("header", "wait"),
    [("120", timedelta(seconds=120)), ("1000000", timedelta(hours=24)), ("soon", None), ("-1", None)],
)
def test_a_receiver_says_when_to_come_again(sink: Sink, header: str, wait: timedelta | None) -> None:
    sink.answer = (503, {"retry-after": header}, b"")
    with pytest.raises(TryLater) as raised:
        sent(WebhookChannel(utc_now), parcel(sink.url, make_secret()))
    assert raised.value.not_before == wait


def test_a_receiver_that_holds_the_line_or_is_not_there_is_away(sink: Sink) -> None:
    sink.hold = threading.Event()
    with pytest.raises(Unavailable, match="did not answer"):
        sent(WebhookChannel(utc_now, seconds=0.3), parcel(sink.url, make_secret()))
    with pytest.raises(Unavailable, match="no answer"):
        sent(WebhookChannel(utc_now), parcel("http://127.0.0.1:1/secret", make_secret()))


def test_of_a_long_answer_only_the_beginning_is_kept(sink: Sink) -> None:
    sink.answer = (200, {}, b"x" * 1_000_000)
    assert len(sent(WebhookChannel(utc_now), parcel(sink.url, make_secret())).answer) <= 505


def test_apprise_posts_the_mails_text(sink: Sink, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = sink.url.replace("http://", "json://")
    one = parcel(url)
    receipt = sent(AppriseChannel(), one)
    assert receipt.accepted == ("team#1",)
    [(_, _, body)] = sink.taken
    told = json.loads(body)
    assert told["title"] == one.rendered.title
    assert told["message"].strip() == one.rendered.text.strip()
    assert told["type"] == "failure"
    assert SECRET_PATH not in caplog.text


def test_what_apprise_refuses_is_tried_again_and_its_reason_holds_no_secret(
    sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sink.answer = (401, {}, b"no")
    with pytest.raises(TryLater, match="401") as raised:
        sent(AppriseChannel(), parcel(sink.url.replace("http://", "json://user:geheim123@")))
    for secret in ("geheim123", SECRET_PATH):
        assert secret not in str(raised.value)
        assert secret not in caplog.text


@pytest.mark.parametrize("is_packed", [True, False])
def test_an_answer_to_apprise_is_bounded(sink: Sink, is_packed: bool) -> None:
    """Its plugins read an answer whole, whatever it unpacks to; here a message is taken by its status."""
    packing = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    size = 256 * MAX_ANSWER if is_packed else 2 * MAX_ANSWER
    body = b"".join(packing.compress(b" " * MAX_ANSWER) for _ in range(size // MAX_ANSWER)) + packing.flush()
    sink.answer = (200, {"content-encoding": "gzip"}, body) if is_packed else (200, {}, b" " * size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    receipt = sent(AppriseChannel(), parcel(sink.url.replace("http://", "json://")))
    assert receipt.answer.startswith("handed to json://")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 128 * 1024  # KiB


def test_apprise_that_does_not_come_back_is_uncertain(sink: Sink) -> None:
    sink.hold = threading.Event()
    with pytest.raises(Uncertain):
        sent(AppriseChannel(seconds=0.3), parcel(sink.url.replace("http://", "json://")))


def test_calls_that_hang_are_counted_for_each_target(sink: Sink) -> None:
    sink.hold = threading.Event()
    one = parcel(sink.url.replace("http://", "json://"))

    async def story() -> None:
        sender = AppriseChannel(seconds=0.2)
        for _ in range(MAX_HANGING):
            with pytest.raises(Uncertain):
                await sender.send(one)
        with pytest.raises(TryLater, match="for team#1 have not come back"):
            await sender.send(one)
        with pytest.raises(Uncertain):
            await sender.send(replace(one, recipient="other#1"))

    asyncio.run(story())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("asked", ["", "?redirect=yes"])
def test_apprise_follows_no_redirect(sink: Sink, status: int, asked: str) -> None:
    sink.answer = (status, {"location": sink.url + "/inner"}, b"")
    with pytest.raises(TryLater, match=str(status)):
        sent(AppriseChannel(), parcel(sink.url.replace("http://", "json://") + asked))
    assert len(sink.taken) == 1


class Clock:
    """Each look at it is a second later."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_in_drops_has_an_end(said: bytes) -> None:
    ours, theirs = socket.socketpair()
    clock = Clock()

    class Drops(threading.Thread):
        sent = 0

        def run(self) -> None:
            with suppress(OSError):
                for drop in said + b"x" * 500:
                    theirs.sendall(bytes((drop,)))
                    self.sent += 1
                    assert ours_read.acquire(timeout=DEADLINE)

    ours_read = threading.Semaphore(0)

    def each() -> float:
        ours_read.release()
        return clock()

    drops = Drops(daemon=True)
    drops.start()
    answer = BoundedResponse(ours, now=each)

    def read() -> None:
        answer.begin()
        answer.read()

    with ours, pytest.raises(TimeoutError, match="no end within"):
        read()
    theirs.close()
    ours_read.release()
    drops.join(DEADLINE)
    assert clock.now <= ANSWER_SECONDS + 2


def test_an_answer_without_a_status_has_an_end() -> None:
    ours, theirs = socket.socketpair()
    said = b"HTTP/1.1 100 Continue\r\n\r\n" * (2 * MAX_HEAD // 25)

    def say() -> None:
        with suppress(OSError):
            theirs.sendall(said)

    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    with ours, pytest.raises(HTTPException, match="too long"):
        BoundedResponse(ours).begin()
    ours.close()
    theirs.close()
    thread.join(DEADLINE)


def test_an_apprise_url_that_is_none_any_more_is_refused() -> None:
    with pytest.raises(SendRefused, match="slack"):
        sent(AppriseChannel(), parcel("slack://T1JJ3T3L2"))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("json://localhost", None),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general", None),
        ("slack://geheim123", "slack://"),
        ("nothing://geheim123", "nothing://"),
        ("geheim123", "is not a URL"),
    ],
)
def test_apprise_urls_are_checked_without_repeating_them(
    url: str, said: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    answer = check_apprise_url(url)
    assert (answer is None) == (said is None)
    if answer and said:
        assert said in answer
    assert "geheim123" not in f"{answer} {caplog.text}"


def test_no_part_of_a_url_is_told() -> None:
    url = "https://user:pa%24%24word@host.example/abc/T0KEN?key=s3cret"
    text = f"failed for {url}: pa$$word T0KEN s3cret at host.example"
    assert clean_reply(text, urls=(url,)) == "failed for […]: […] […] […] at […]"
