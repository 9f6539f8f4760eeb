"""Server-Sent Events as they come in, read as the HTML standard says.

Odd on purpose: a parser of its own. httpx's line splitting also ends a line at U+2028, which JSON may hold;
and the plugin's client, which reads the same, belongs to another program: neither imports the other.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from monitor.bounded_json import loads
from monitor.errors import WindsockError
from monitor.web.event_line import EventLine

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
    async for one in _lines(chunks):
        name, _, value = one.partition(":")
        value = value.removeprefix(" ")
        if not one:
            told = "\n".join(data)
            yield cursor, _message(kind, cursor, told) if told else None
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


def _message(kind: str, cursor: str, told: str) -> Message:
    try:
        return Message(kind or "message", cursor, loads(told))
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


def _require_texts(told: dict[str, Any], *names: str) -> None:
    """Raises TypeError, KeyError."""
    if not all(isinstance(told[name], str) for name in names):
        raise TypeError


def local_time(moment: str) -> datetime:
    """Raises ValueError, OverflowError."""
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).astimezone()


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    begun: list[bytes] = []
    size = 0
    async for chunk in chunks:
        begun.append(chunk)
        size += len(chunk)
        if b"\n" in chunk:
            *whole, rest = b"".join(begun).split(b"\n")
            begun, size = [rest], len(rest)
            for one in whole:
                yield one.removesuffix(b"\r").decode(errors="replace")
        _require(size <= MAX_MESSAGE)


def _require(is_short: bool) -> None:
    if not is_short:
        raise TailRefused(f"a message is longer than {MAX_MESSAGE} characters: is it the monitor's address?")
