"""The parsers of the two formats of a feed: Server-Sent Events and NDJSON.

Both yield pairs of a cursor and an item, or None for a heartbeat. A message that was cut off yields nothing.
So the cursor behind it never counts as read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from windsock_client.errors import FeedError
from windsock_client.records import Item, checked_cursor, event, reset, unreadable

SERVER_SENT_EVENTS = "text/event-stream"
NDJSON = "application/x-ndjson"
JSON = "application/json"
MAX_LINE = 16 * 1024 * 1024  # bytes: four times the largest request that the monitor takes events by
LINE_BYTES = 48  # bytes of memory that a line of a message takes beside its text
MAX_VALUES = 100_000  # of a message: as many as the monitor takes in one request. Each takes 50 bytes or more
VALUE_SIGNS = (b",", b"[", b"{")  # one of them stands before each value but a text's only one

ItemStream = Iterator[tuple[str, Item | None]]


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield whole lines, without their ends.
    What follows the last end is no line. Raises FeedError for a line that is too long to be the monitor's."""
    beginning: list[bytes] = []
    size = 0
    for chunk in chunks:
        beginning.append(chunk)
        size += len(chunk)
        if b"\n" in chunk:
            *whole, rest = b"".join(beginning).split(b"\n")
            yield from (line.removesuffix(b"\r") for line in whole)
            beginning, size = [rest], len(rest)
        if size > MAX_LINE:
            raise FeedError(f"a line is longer than {MAX_LINE} bytes: this is no Windsock monitor")


def server_sent_events(stream: Iterable[bytes], cursor: str, on_retry: Callable[[float], None]) -> ItemStream:
    """Yield items as the HTML standard (9.2.6) reads an event stream. `on_retry` gets `retry:` in seconds."""
    kind, event_cursor = "", cursor
    data: list[bytes] = []
    size = 0
    for line in stream:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            cursor = event_cursor  # only now: what is cut off before its end was not handed out
            yield cursor, _item(cursor, kind, b"\n".join(data)) if data else None
            kind, data, size = "", [], 0
        elif name == b"data":
            data.append(value)
            size += len(value) + LINE_BYTES
            if size > MAX_LINE:
                raise FeedError(f"a message is longer than {MAX_LINE} bytes: this is no Windsock monitor")
        elif name == b"event":
            kind = value.decode(errors="replace")
        elif name == b"id":
            event_cursor = checked_cursor(value.decode(errors="replace"))
        elif name == b"retry" and value.isdigit():
            on_retry(float(value) / 1000)


def _item(cursor: str, kind: str, data: bytes) -> Item:
    record = _decode(cursor, data)
    return reset(cursor, record) if kind == "reset" else event(cursor, record)


def ndjson(stream: Iterable[bytes], cursor: str) -> ItemStream:
    """Yield the items of NDJSON.
    A line is `{"id": …, "event": {…}}`, `{"id": …, "reset": {…}}`, or, for a heartbeat, `{"id": …}`."""
    for line in stream:
        if not line:
            continue
        message = _decode(cursor, line)
        if not isinstance(message, dict):
            raise unreadable(cursor, message, TypeError("it is no object"))
        cursor = checked_cursor(message.get("id"))
        if "event" in message:
            yield cursor, event(cursor, message["event"])
        else:
            yield cursor, reset(cursor, message["reset"]) if "reset" in message else None


def _decode(cursor: str, data: bytes) -> Any:
    try:
        return loads(data)
    except ValueError as error:
        raise unreadable(cursor, data, error) from error


def loads(data: bytes) -> Any:
    """Decode JSON. Raises ValueError, also for a text that may hold more than MAX_VALUES values."""
    if sum(map(data.count, VALUE_SIGNS)) > MAX_VALUES:
        raise ValueError(f"it holds more than {MAX_VALUES} values")
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
