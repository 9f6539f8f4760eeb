"""Server-Sent Events as they come in, read as the HTML standard says.

Odd on purpose: a parser of its own. httpx's line splitting also ends a line at U+2028, which JSON may hold;
and the plugin's client, which reads the same, belongs to another program: neither imports the other.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

RESET = "reset"


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
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for one in whole:
            yield one.removesuffix(b"\r").decode()
