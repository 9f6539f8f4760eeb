"""The feed in a terminal, and for programs: it comes back by itself where it was cut off."""

import asyncio
import json
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from rich.console import Console
from rich.text import Text

from monitor.errors import WindsockError
from monitor.render.words import line
from monitor.web.event_line import EventLine

FIRST_WAIT = 0.5  # seconds before the second attempt; it doubles from there
LONGEST_WAIT = 30.0  # seconds between attempts while the monitor is away
JITTER = 0.5  # of the wait, so that many readers do not come back together
SILENCE_SECONDS = 60.0  # several heartbeats without one: the connection is dead
CONNECT_SECONDS = 10.0
RESET = "reset"

SIGNS = {
    "success": ("✔", "green"),
    "failed": ("✖", "bold red"),
    "import_error": ("✖", "bold red"),
    "mended": ("✔", "green"),
    "paused": ("‖", "yellow"),
    "unpaused": ("▷", "blue"),
    "running": ("▶", "blue"),
    "up_for_retry": ("↻", "yellow"),
    "upstream_failed": ("▲", "yellow"),
    "skipped": ("»", "dim"),
    "updated": ("■", "magenta"),
    "created": ("■", "magenta"),
}
"""A sign and a colour for each state: the sign says it where there is no colour."""

logger = logging.getLogger(__name__)

Params = Mapping[str, str | Sequence[str]]


class TailRefused(WindsockError):
    """The monitor refuses this reader or this filter; asking again would not help."""


@dataclass(frozen=True)
class Message:
    """One Server-Sent Event: its type, its cursor, and its data decoded."""

    type: str
    id: str
    data: dict[str, Any]


async def follow(
    client: httpx.AsyncClient, params: Params | None = None, token: str | None = None, after: str = ""
) -> AsyncGenerator[Message, None]:
    """Every event from now on (or after a cursor), for ever, across the monitor's restarts.

    The client's base URL is the monitor's. Raises TailRefused where the monitor says 4xx.
    """
    last, failures = after, 0
    while True:
        try:
            async with aclosing(_connection(client, params or {}, token, last)) as messages:
                async for cursor, message in messages:
                    last, failures = cursor, 0
                    if message is not None:
                        yield message
        except httpx.HTTPError as error:
            # It is away, or the line was cut: what was missed is asked for again.
            logger.info("the feed was cut: %s", str(error) or type(error).__name__)
        failures += 1
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (failures - 1))
        await asyncio.sleep(wait * random.uniform(1 - JITTER, 1))  # noqa: S311 (spreads load, no secret)


async def _connection(
    client: httpx.AsyncClient, params: Params, token: str | None, last: str
) -> AsyncGenerator[tuple[str, Message | None], None]:
    """What one connection brings: the cursor each time, and a message where there is one."""
    headers = {"Accept": "text/event-stream"}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    headers |= {"Last-Event-ID": last} if last else {}
    timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
    async with client.stream("GET", "/events", params=params, headers=headers, timeout=timeout) as answer:
        if answer.is_client_error:
            raise TailRefused(_why(answer.status_code, await answer.aread()))
        answer.raise_for_status()
        async for item in parse(answer.aiter_bytes(), last):
            yield item


def _why(status: int, body: bytes) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the monitor answers {status}"


async def parse(chunks: AsyncIterator[bytes], last: str = "") -> AsyncIterator[tuple[str, Message | None]]:
    """Server-Sent Events as the HTML standard (9.2.6) reads them: at each blank line the cursor as it stands
    then, and the message, or None where there was no data.
    """
    kind, cursor = "", last
    data: list[str] = []
    async for one in _lines(chunks):
        name, _, value = one.partition(":")
        value = value.removeprefix(" ")
        if not one:
            told = "\n".join(data)
            yield cursor, Message(kind or "message", cursor, json.loads(told)) if told else None
            kind, data = "", []
        elif name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id":
            cursor = value


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Lines as the standard ends them. httpx's own splitting also ends one at U+2028, which JSON may hold."""
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for one in whole:
            yield one.removesuffix(b"\r").decode()


async def show(url: str, params: Params, token: str | None, as_json: bool, console: Console) -> None:
    """Print the feed until cancelled: a line for people, or a JSON object, an event. Raises TailRefused."""
    async with httpx.AsyncClient(base_url=url) as client:
        async for message in follow(client, params, token):
            if as_json:
                told = {"id": message.id, "type": message.type, "data": message.data}
                console.file.write(json.dumps(told) + "\n")  # ASCII: nothing in it can command a terminal
                console.file.flush()
            else:
                console.print(render(message), soft_wrap=True)


def render(message: Message) -> Text:
    """One line for a terminal: when, the state, who, and what was said."""
    if message.type == RESET:
        return Text(f"--:--:--  events may have been missed: {line(message.data['reason'])}", "bold red")
    event = EventLine.read(0, message.data)
    sign, style = SIGNS.get(event.word, ("·", ""))
    text = Text.assemble(
        (f"{_clock(event.time)}  ", "dim"),
        (f"{sign} {event.word:<16}", style),
        (line(" / ".join(part for part in (event.dag_id, event.run_id, event.task) if part)), "bold")
        if event.dag_id and event.kind != "asset"
        else (line(event.subject), "bold"),
    )
    return text.append(f"  {line(event.detail)}") if event.detail else text


def _clock(moment: str) -> str:
    when = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    return f"{when.astimezone():%H:%M:%S}"
