"""The proxy does to a request what it is told to: who heard of it, and who was answered."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.faults.proxy import Cut, FaultyProxy
from tests.served import served


@dataclass
class Upstream:
    """A server that counts what it was asked in full."""

    port: int
    bodies: list[bytes]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    bodies: list[bytes] = []

    async def echo(request: Request) -> Response:
        bodies.append(await request.body())  # raises where the request is cut
        return Response(bodies[-1])

    with served(Starlette(routes=[Route("/", echo, methods=["POST"])])) as url:
        yield Upstream(int(url.rpartition(":")[2]), bodies)


@pytest.mark.parametrize(
    ("cut", "heard", "answered"),
    [
        (Cut.NONE, True, True),
        (Cut.DELAYED, True, True),
        (Cut.REFUSED, False, False),
        (Cut.HALF_REQUEST, False, False),
        (Cut.LOST_ANSWER, True, False),
        (Cut.HALF_ANSWER, True, False),
    ],
)
def test_who_heard_and_who_was_answered(upstream: Upstream, cut: Cut, heard: bool, answered: bool) -> None:
    proxy = FaultyProxy(upstream.port, lambda: (cut, 0.01)).start()
    try:
        body = b"x" * 200_000
        if answered:
            assert httpx.post(proxy.url, content=body, trust_env=False).content == body
        else:
            with pytest.raises(httpx.TransportError):
                httpx.post(proxy.url, content=body, trust_env=False)
        assert upstream.bodies == ([body] if heard else [])
        assert proxy.counts == {cut: 1}
    finally:
        proxy.stop()


def test_a_healed_proxy_forwards_request_after_request(upstream: Upstream) -> None:
    proxy = FaultyProxy(upstream.port, lambda: (Cut.REFUSED, 0.0)).start()
    proxy.healed = True
    try:
        with httpx.Client(trust_env=False) as client:
            assert [client.post(proxy.url, content=b"%d" % n).content for n in range(3)] == [b"0", b"1", b"2"]
    finally:
        proxy.stop()
