"""The feed across the monitor's restarts: connection after connection, each from where the last was cut."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Protocol

import httpx

from monitor.bounded_http import UnreadableBody, pieces, read_beginning
from monitor.bounded_json import loads
from monitor.tail.messages import Message, TailRefused, checked, parse

FIRST_WAIT = 0.5  # seconds before the second attempt; it doubles from there
LONGEST_WAIT = 30.0  # seconds between attempts while the monitor is away
JITTER = 0.5  # of the wait, so that many readers do not come back together
DOUBLINGS = 16  # more would overflow, and the bound is reached long before
SILENCE_SECONDS = 60.0  # several heartbeats without one: the connection is dead
CONNECT_SECONDS = 10.0
MAX_REASON = 64 * 1024  # bytes of a refusal that are read for its reason
LATER = {408, 425, 429}  # 4xx that ask for another attempt; of 5xx all do
FORM = "text/event-stream"

logger = logging.getLogger(__name__)

Params = Mapping[str, str | Sequence[str]]


class Outages(Protocol):
    """Is told when the feed is cut off and when it is back. May raise, which ends the following."""

    def lost(self, reason: str) -> None:
        """At each attempt that failed."""

    def heard(self) -> None:
        """At whatever comes, heartbeats too."""


class Logged:
    """Outages are worth a line in the log."""

    def lost(self, reason: str) -> None:
        logger.info("the feed was cut: %s", reason)

    def heard(self) -> None:
        """Nothing to say."""


class _Away(Exception):
    """The answer is "later"."""


async def follow(
    client: httpx.AsyncClient, params: Params | None = None, token: str | None = None, after: str = ""
) -> AsyncGenerator[Message, None]:
    """Every event from now on (or after a cursor), for ever, across the monitor's restarts.

    The client's base URL is the monitor's. Raises TailRefused where the monitor says 4xx.
    """
    async with aclosing(places(client, params or {}, token, after)) as found:
        async for _, message in found:
            if message is not None:
                yield message


async def places(
    client: httpx.AsyncClient, params: Params, token: str | None, last: str, outages: Outages | None = None
) -> AsyncGenerator[tuple[str, Message | None], None]:
    """The same, with each heartbeat: the cursor, and a message where there is one. Raises TailRefused."""
    told, failures = outages or Logged(), 0
    while True:
        try:
            async with aclosing(_connection(client, params, token, last)) as messages:
                async for cursor, message in messages:
                    told.heard()
                    last, failures = cursor, 0
                    yield cursor, message
            reason = "the monitor has ended it"
        except (httpx.HTTPError, UnreadableBody, _Away) as error:
            # It is away, or the line was cut: what was missed is asked for again.
            reason = str(error) or type(error).__name__
        told.lost(reason)
        await asyncio.sleep(_wait(failures))
        failures += 1


def _wait(failures: int) -> float:
    longest = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures, DOUBLINGS))
    return longest * random.uniform(1 - JITTER, 1)  # noqa: S311 (spreads load, keeps no secret)


async def _connection(
    client: httpx.AsyncClient, params: Params, token: str | None, last: str
) -> AsyncGenerator[tuple[str, Message | None], None]:
    """What one connection brings."""
    headers = {"Accept": FORM} | bearer(token)
    headers |= {"Last-Event-ID": last} if last else {}
    timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
    async with client.stream("GET", "/events", params=params, headers=headers, timeout=timeout) as answer:
        await _check(answer)
        async for cursor, message in parse(pieces(answer), last):
            yield cursor, checked(message) if message else None


def bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


async def _check(answer: httpx.Response) -> None:
    """Raises TailRefused and _Away."""
    form = answer.headers.get("content-type", "").partition(";")[0]
    if answer.status_code == 200 and form == FORM:
        return
    if answer.status_code in LATER or answer.is_server_error:
        raise _Away(why(answer, await read_beginning(answer, MAX_REASON)))
    if answer.status_code == 200:
        raise TailRefused(
            f"{answer.url} answers with {form or 'nothing'}, which is no feed: is it the monitor's?"
        )
    raise TailRefused(why(answer, await read_beginning(answer, MAX_REASON)))


def why(answer: httpx.Response, body: bytes) -> str:
    """The monitor's own words (RFC 9457), where there are any."""
    if to := answer.headers.get("location"):
        return f"{answer.url} redirects to {to}: give that address, without /events"
    try:
        return str(loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.url} answers {answer.status_code}"
