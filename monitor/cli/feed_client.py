"""The feed client of `windsock tail`, which reconnects and resumes after each interruption.

`follow` and `places` read the feed across the monitor's restarts. `parse` reads Server-Sent Events as the
HTML standard says.

The parser is this module's own, which is odd on purpose. httpx also ends a line at U+2028, and JSON may hold
that character. `windsock_client` reads the same feed and belongs to other programs, so neither client imports
the other.
"""

import asyncio
import logging
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import httpx

from monitor.bounded_http import UnreadableBody, pieces, read_beginning
from monitor.bounded_json import loads
from monitor.errors import WindsockError
from monitor.web.templating import EventLine

RESET = "reset"
MAX_MESSAGE = 16 * 1024 * 1024  # characters: four times the largest request that the monitor takes events by


CURSOR = re.compile(r"([!-~]{1,100}-[0-9]{1,19})?")
"""Such as 1a2b3c4d-42: one that a header can carry back. The place in the log is below 2^63."""
SHOWN = 200  # characters of what cannot be read that a message repeats


class TailRefused(WindsockError):
    """The monitor refuses this reader or this filter, or is none; asking again would not help."""


@dataclass(frozen=True)
class Message:
    """One Server-Sent Event: its type, its cursor, and its data decoded."""

    type: str
    id: str
    data: dict[str, Any]


async def parse(chunks: AsyncIterator[bytes], last: str = "") -> AsyncIterator[tuple[str, Message | None]]:
    """The stream as section 9.2.6 of the standard reads it: at each blank line the cursor as it stands then,
    and the message, or None where there was no data.
    """
    kind, cursor = "", last
    data: list[str] = []
    size = 0
    async for line in _lines(chunks):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            text = "\n".join(data)
            yield cursor, _message(kind, cursor, text) if text else None
            kind, data, size = "", [], 0
        elif name == "data":
            data.append(value)
            size += len(value)
            _require(size <= MAX_MESSAGE)
        elif name == "event":
            kind = value
        elif name == "id":
            cursor = value
            if not CURSOR.fullmatch(cursor):
                raise TailRefused(f"{cursor[:SHOWN]!r} is no cursor: is it the monitor's address?")


def _message(kind: str, cursor: str, text: str) -> Message:
    try:
        return Message(kind or "message", cursor, loads(text))
    except ValueError:
        raise _no_event(cursor) from None


def checked(message: Message) -> Message:
    """The message, if whoever shows it can read it. Raises TailRefused: a monitor may tell anything."""
    try:
        if message.type == RESET:
            _require_texts(message.data, "reason")
        else:
            _require_texts(message.data, "type", "source", "subject", "time")
            local_time(message.data["time"])
            EventLine.read(0, message.data)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise _no_event(message.id) from None
    return message


def _no_event(cursor: str) -> TailRefused:
    return TailRefused(f"what is told at {cursor} is no event: is it the monitor's address?")


def _require_texts(data: dict[str, Any], *names: str) -> None:
    """Raises TypeError, KeyError."""
    if not all(isinstance(data[name], str) for name in names):
        raise TypeError


def local_time(moment: str) -> datetime:
    """Raises ValueError, OverflowError."""
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).astimezone()


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    beginning: list[bytes] = []
    size = 0
    async for chunk in chunks:
        beginning.append(chunk)
        size += len(chunk)
        if b"\n" in chunk:
            *whole, rest = b"".join(beginning).split(b"\n")
            beginning, size = [rest], len(rest)
            for line in whole:
                yield line.removesuffix(b"\r").decode(errors="replace")
        _require(size <= MAX_MESSAGE)


def _require(is_short: bool) -> None:
    if not is_short:
        raise TailRefused(f"a message is longer than {MAX_MESSAGE} characters: is it the monitor's address?")


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


class OutageObserver(Protocol):
    """Is told when the feed is cut off and when it is back. May raise, which ends the following."""

    def on_disconnect(self, reason: str) -> None:
        """At each attempt that failed."""

    def on_data(self) -> None:
        """At whatever comes, heartbeats too."""


class OutageLogger:
    """Outages are worth a line in the log."""

    def on_disconnect(self, reason: str) -> None:
        logger.info("the feed was cut: %s", reason)

    def on_data(self) -> None:
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
    client: httpx.AsyncClient,
    params: Params,
    token: str | None,
    last: str,
    outages: OutageObserver | None = None,
) -> AsyncGenerator[tuple[str, Message | None], None]:
    """The same, with each heartbeat: the cursor, and a message where there is one. Raises TailRefused."""
    observer, failures = outages or OutageLogger(), 0
    while True:
        try:
            async with aclosing(_connection(client, params, token, last)) as messages:
                async for cursor, message in messages:
                    observer.on_data()
                    last, failures = cursor, 0
                    yield cursor, message
            reason = "the monitor has ended it"
        except (httpx.HTTPError, UnreadableBody, _Away) as error:
            # It is away, or the line was cut: what was missed is asked for again.
            reason = str(error) or type(error).__name__
        observer.on_disconnect(reason)
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
    media_type = answer.headers.get("content-type", "").partition(";")[0]
    if answer.status_code == 200 and media_type == FORM:
        return
    if answer.status_code in LATER or answer.is_server_error:
        raise _Away(why(answer, await read_beginning(answer, MAX_REASON)))
    if answer.status_code == 200:
        raise TailRefused(
            f"{answer.url} answers with {media_type or 'nothing'}, which is no feed: is it the monitor's?"
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
