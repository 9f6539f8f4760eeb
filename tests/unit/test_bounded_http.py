"""Answers of HTTP servers that are packed, broken or endless, and what their readers make of them."""

import asyncio
import gzip
import resource
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import httpx
import pytest

from monitor.airflow.connection import AirflowConnection
from monitor.bounded_http import (
    ACCEPT,
    MAX_HEAD,
    PIECE,
    BoundedClient,
    UnreadableBody,
    pieces,
    read,
    read_beginning,
)
from monitor.clock import utc_now
from monitor.delivery.channels.errors import SendRefused, TryLater, Unavailable
from monitor.delivery.channels.oauth import Grant, TokenRefresher
from monitor.delivery.channels.webhook import WebhookChannel
from monitor.errors import AirflowError
from tests import wait
from tests.unit.conftest import make_secret
from tests.unit.delivery.channels.test_channels import parcel

MIB = 1024 * 1024
BOMB_MIB = 256
SLACK_MIB = 128  # of memory beyond what was there before: Airflow's answers may have 32 MiB
Story = Callable[[str], Coroutine[Any, Any, Any]]


def packed(content: bytes, layers: int = 1) -> bytes:
    return content if not layers else packed(gzip.compress(content), layers - 1)


@cache
def bomb(layers: int) -> bytes:
    """BOMB_MIB of spaces, packed without ever being held."""
    packing = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    once = b"".join(packing.compress(b" " * MIB) for _ in range(BOMB_MIB)) + packing.flush()
    return packed(once, layers - 1)


def answer(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def serving(said: bytes, *, endless: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that answers each request with these bytes; endless: and then says nothing, and stays."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(said)
            await writer.drain()
            if endless:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads
    finally:
        server.close()


def told(story: Story, said: bytes, *, endless: bool = False) -> Any:
    async def whole() -> Any:
        async with serving(said, endless=endless) as (url, _):
            return await story(url)

    return asyncio.run(whole())


def whole(limit: int) -> Story:
    async def story(url: str) -> bytes:
        async with httpx.AsyncClient(headers=ACCEPT) as client, client.stream("GET", url) as response:
            return await read(response, limit)

    return story


TEXT = "größe ".encode() * 50_000


@pytest.mark.parametrize(
    "said",
    [
        answer(TEXT),
        answer(TEXT, "Content-Encoding: identity"),
        answer(gzip.compress(TEXT), "Content-Encoding: gzip"),
        answer(zlib.compress(TEXT), "Content-Encoding: deflate"),
    ],
)
def test_a_body_is_read_packed_or_not(said: bytes) -> None:
    assert told(whole(len(TEXT)), said) == TEXT
    with pytest.raises(UnreadableBody, match=f"longer than {len(TEXT) - 1} bytes"):
        told(whole(len(TEXT) - 1), said)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (answer(packed(TEXT, 2), "Content-Encoding: gzip, gzip"), "packed as 'gzip, gzip'"),
        (answer(TEXT, "Content-Encoding: br"), "packed as 'br'"),
        (answer(b"ok", "Content-Encoding: gzip"), "cannot be unpacked"),
        (answer(packed(TEXT)[:-20], "Content-Encoding: gzip"), "ends before"),
    ],
)
def test_what_cannot_be_unpacked_is_said(said: bytes, reason: str) -> None:
    with pytest.raises(UnreadableBody, match=reason):
        told(whole(MIB), said)


def test_a_body_comes_in_small_pieces_and_no_more_is_unpacked_than_is_wanted() -> None:
    async def story(url: str) -> list[int]:
        async with httpx.AsyncClient(headers=ACCEPT) as client:
            async with client.stream("GET", url) as response:
                assert await read_beginning(response, 500) == b" " * 500
            async with client.stream("GET", url) as response:
                return [len(piece) async for piece in pieces(response)]

    sizes = told(story, answer(packed(b" " * 10 * MIB), "Content-Encoding: gzip"))
    assert max(sizes) <= PIECE
    assert sum(sizes) == 10 * MIB


def test_others_have_their_turn_while_a_body_is_unpacked() -> None:
    async def unpack(response: httpx.Response) -> None:
        async for _ in pieces(response):
            pass

    async def story(url: str) -> float:
        async with httpx.AsyncClient(headers=ACCEPT) as client, client.stream("GET", url) as response:
            return await wait.longest_turn(unpack(response))

    said = answer(packed(b" " * 64 * MIB), "Content-Encoding: gzip")  # 64 kB, which come at once
    assert told(story, said) < 0.2


ENDLESS = b"HTTP/1.1 100 Continue\r\n\r\n" * (16 * MAX_HEAD // 25)


def test_a_server_that_never_comes_to_its_status_is_given_up() -> None:
    async def story(url: str) -> None:
        async with BoundedClient(timeout=60) as client:
            with pytest.raises(httpx.RemoteProtocolError, match=f"no status within the first {MAX_HEAD}"):
                await client.get(url)

    told(story, ENDLESS + answer(b"late"))


def test_a_webhooks_receiver_that_never_comes_to_its_status_is_away() -> None:
    with pytest.raises(Unavailable, match="no status within"):
        told(post, ENDLESS + answer(b"late"))


def test_a_few_words_before_the_status_and_a_long_body_are_read() -> None:
    async def story(url: str) -> bytes:
        async with BoundedClient() as client, client.stream("GET", url) as response:
            return await read(response, 8 * MAX_HEAD)

    said = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3 + answer(b"a" * 8 * MAX_HEAD)
    assert len(told(story, said)) == 8 * MAX_HEAD


async def ask_airflow(url: str) -> None:
    connection = AirflowConnection(url, "user", "password", 5.0, utc_now)
    try:
        with pytest.raises(AirflowError, match=r"(cannot be read|is too long): it is"):
            await connection.get_public("/version")
        async with connection.stream("/log", {}, "application/json") as log:
            _ = [len(piece) async for piece in log]
    except AirflowError:
        pass  # the token's answer is a bomb as well
    finally:
        await connection.close()


async def fetch_token(url: str) -> None:
    grant = Grant(url=url, client_id="id", client_secret="secret", refresh_token="token")
    with pytest.raises(Unavailable, match="the answer cannot be read: it is"):
        await TokenRefresher(grant).token()


async def post(url: str) -> str:
    sender = WebhookChannel(utc_now)
    try:
        return (await sender.send(parcel(url, make_secret()))).answer
    finally:
        await sender.close()


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("story", [ask_airflow, fetch_token, post])
def test_a_bomb_takes_no_memory(story: Story, layers: int) -> None:
    said = answer(bomb(layers), f"Content-Encoding: {', '.join(['gzip'] * layers)}")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told(story, said)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown / 1024 < SLACK_MIB


@pytest.mark.parametrize(
    ("said", "endless", "words"),
    [
        (answer(b"ok"), False, "200 ok"),
        (answer(b"ok", length=100), False, "could not be read"),
        (answer(b"ok", length=100), True, "could not be read"),
        (answer(b"ok", "Content-Encoding: gzip"), False, "could not be read"),
        (answer(b"ok", "Content-Encoding: gzip, gzip"), False, "could not be read"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZZ\r\n",
            False,
            "could not be read",
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", False, "204"),
    ],
)
def test_a_receivers_status_is_its_answer(said: bytes, endless: bool, words: str) -> None:
    assert words in told(post, said, endless=endless)


@pytest.mark.parametrize(
    ("status", "error"), [("404 Not Found", SendRefused), ("500 Oops", TryLater), ("503 Busy", Unavailable)]
)
def test_so_is_a_refusals(status: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=status[:3]):
        told(post, answer(b"ok", status=status, length=100))


def test_no_other_packing_is_asked_for() -> None:
    async def whole() -> bytes:
        async with serving(answer(b"ok")) as (url, heads):
            await post(url)
            return heads[0].lower()

    assert b"accept-encoding: gzip\r\n" in asyncio.run(whole())
