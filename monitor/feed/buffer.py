"""The buffer of committed events, and the encoded chunks that subscribers share, as SSE or NDJSON.

`CommittedEvents` holds what this process has just committed, which saves the feed a read of the log. The
feed takes these events only if they follow its own end without a gap, and if nothing else woke the feed
meanwhile. The events of another process take places in the log, and the feed reads them from the log.

`EventBuffer` keeps the latest events as `EventChunk` objects, and each chunk is encoded once for all
subscribers of the same `Subscription`.

`FeedFormat` writes a feed as Server-Sent Events (HTML standard, 9.2) or as NDJSON, one JSON object a line.
Odd on purpose: an SSE heartbeat carries an `id:` and no data. The standard (9.2.6, "dispatch the event")
takes the id even though nothing is dispatched. So a client whose filter matches nothing for days comes back
with a recent cursor. The log is then not searched again from the client's last event.
"""

import json
import re
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

from monitor.concurrency import WakeSignal
from monitor.event_log import append
from monitor.event_log.cursor import Cursor
from monitor.event_log.filters import AllowedDags, Filter, may_read, redact_body
from monitor.event_log.read import LogRow
from monitor.events.event import Event
from monitor.rules.field_types import WILD, matches_any

MOST = 1_000  # events kept until the feed comes for them. Beyond that it reads the log, page by page

SeqAndEvent = tuple[int, Event]


class CommittedEvents:
    """The queue of events that are committed and not yet in the buffer.
    It is for the event loop's own thread only."""

    def __init__(self, wake: WakeSignal) -> None:
        self._wake = wake
        self._waiting: list[tuple[Cursor, Sequence[SeqAndEvent]]] = []
        self._size = 0
        self.since = 0.0
        """The moment, by time.monotonic(), since which the first waiting event waits."""
        self._handed = 0
        """The wakings that only announce what was handed over."""
        self._others = 0
        """The other wakings, when the log was last read."""

    def add(self, after: Cursor, logged: Sequence[SeqAndEvent]) -> None:
        """Hand over what was committed behind a place in the log, and wake the feed."""
        if logged and self._size + len(logged) <= MOST:
            if not self._waiting:
                self.since = time.monotonic()
            self._waiting.append((after, logged))
            self._size += len(logged)
            self._handed += 1
        self._wake.set()

    def clear(self) -> None:
        """Forget the waiting events, because they are not needed."""
        self._waiting, self._size = [], 0

    def take(self, end: Cursor) -> list[LogRow] | None:
        """Return the events that follow `end`, or None if they have to be read from the log."""
        batches = self._waiting
        self.clear()
        missing = self._wake.count - self._handed
        if missing != self._others:
            self._others = missing
            return None
        lines: list[LogRow] = []
        for after, logged in batches:
            if after.epoch == end.epoch and logged[-1][0] <= end.seq:
                continue  # the log was read since
            if after != end:
                return None
            lines += [append.line_of(seq, event) for seq, event in logged]
            end = Cursor(end.epoch, logged[-1][0])
        return lines or None


KEYS = 50  # DAGs up to which a reader is found by their names. A reader with more is asked about every chunk


@dataclass(frozen=True)
class Subscription:
    """The filter and rights of a feed.
    One value of each filtered attribute must match, and the reader must be allowed to see the DAG."""

    event_filter: Filter
    allowed_dags: AllowedDags = None

    @cached_property
    def everything(self) -> bool:
        """True if the subscriber gets every event."""
        return self.allowed_dags is None and not self.event_filter.globs

    @cached_property
    def dags(self) -> frozenset[str] | None:
        """The only DAGs that can concern this reader, or None if they cannot be named."""
        dag_globs = next((globs for name, globs in self.event_filter.globs if name == "dag_id"), ())
        if dag_globs and all(WILD.isdisjoint(glob) for glob in dag_globs):
            return frozenset(dag_globs)
        if self.allowed_dags is not None and len(self.allowed_dags) <= KEYS:
            return frozenset(dag for _, dag in self.allowed_dags)
        return None

    def takes(self, line: LogRow) -> bool:
        """Return True if the subscriber gets this event."""
        if not may_read(line.deployment, line.dag_id, self.allowed_dags):
            return False
        return all(_matches(globs, getattr(line, name)) for name, globs in self.event_filter.globs)


def _matches(globs: tuple[str, ...], value: str | None) -> bool:
    return value is not None and matches_any(globs, value)


_OTHER_LINE_ENDS = re.compile("[\x85\u2028\u2029]")


def one_line(body: str) -> str:
    """Return the same JSON without Unicode's own ends of lines, at which many readers cut it in two."""
    if body.isascii():  # nearly every event is, and Python knows without looking
        return body
    return _OTHER_LINE_ENDS.sub(lambda found: f"\\u{ord(found[0]):04x}", body)


class FeedFormat(Enum):
    """The forms of the feed, by their media types."""

    SSE = "text/event-stream"
    NDJSON = "application/x-ndjson"

    def event(self, cursor: str, kind: str, body: str) -> bytes:
        """Encode an event. Its body is one line of JSON, so it needs one `data:`."""
        body = one_line(body)
        if self is FeedFormat.SSE:
            return f"id: {cursor}\nevent: {kind}\ndata: {body}\n\n".encode()
        return f'{{"id": "{cursor}", "event": {body}}}\n'.encode()

    def heartbeat(self, cursor: Cursor) -> bytes:
        """Encode a heartbeat with the place up to which the log was searched for the reader."""
        if self is FeedFormat.SSE:
            return f": heartbeat\nid: {cursor}\n\n".encode()
        return f'{{"id": "{cursor}"}}\n'.encode()

    def reset(self, reason: str, cursor: Cursor) -> bytes:
        """Encode a reset: events may have been missed, and the feed goes on at the cursor."""
        if self is FeedFormat.SSE:
            data = json.dumps({"reason": reason, "cursor": str(cursor)})
            return f"id: {cursor}\nevent: reset\ndata: {data}\n\n".encode()
        return (json.dumps({"id": str(cursor), "reset": {"reason": reason}}) + "\n").encode()

    def retry(self, milliseconds: int) -> bytes:
        """Encode how soon to come back after the connection is lost. NDJSON has no such line."""
        return b"retry: %d\n\n" % milliseconds if self is FeedFormat.SSE else b""


MEMO = 32  # subscriptions whose bytes a chunk keeps. Beyond that each reader's are put together anew

Message = dict[str, Any]
"""An ASGI `http.response.body`. One object for many readers: servers only read it."""


def body(chunk: bytes, more: bool = True) -> Message:
    """Return the ASGI message of a part of the answer."""
    return {"type": "http.response.body", "body": chunk, "more_body": more}


class EventChunk:
    """The events of the log behind `after`, up to and including `upto`."""

    def __init__(self, epoch: str, after: int, lines: Sequence[LogRow]) -> None:
        self.epoch = epoch
        self.after = after
        self.upto = lines[-1].seq
        self._lines = lines
        self._memo: dict[tuple[Subscription, FeedFormat], Message | None] = {}
        self._frames: dict[tuple[int, FeedFormat], bytes] = {}

    @cached_property
    def size(self) -> int:
        """The size in bytes, roughly."""
        return sum(len(line.body) for line in self._lines)

    @cached_property
    def by_dag(self) -> dict[str | None, list[LogRow]]:
        """The events by DAG."""
        found: dict[str | None, list[LogRow]] = {}
        for line in self._lines:
            found.setdefault(line.dag_id, []).append(line)
        return found

    def following(self, seq: int, subscription: Subscription, feed_format: FeedFormat) -> Message | None:
        """Return the message with this chunk's events after `seq` for a reader, or None if none match."""
        if seq <= self.after:
            return self._whole(subscription, feed_format)
        rest = [line for line in self._select_rows(subscription) if line.seq > seq]
        return self._encode(rest, subscription.allowed_dags, feed_format)

    def _whole(self, subscription: Subscription, feed_format: FeedFormat) -> Message | None:
        key = (subscription, feed_format)
        if key in self._memo:
            return self._memo[key]
        message = self._encode(self._select_rows(subscription), subscription.allowed_dags, feed_format)
        if len(self._memo) < MEMO:
            self._memo[key] = message
        return message

    def _select_rows(self, subscription: Subscription) -> Sequence[LogRow]:
        if subscription.everything:
            return self._lines
        return [line for line in self._near(subscription.dags) if subscription.takes(line)]

    def _near(self, dags: frozenset[str] | None) -> Iterable[LogRow]:
        if dags is None:
            return self._lines
        near = [line for dag in dags & self.by_dag.keys() for line in self.by_dag[dag]]
        return sorted(near) if len(dags) > 1 else near

    def _encode(
        self, lines: Sequence[LogRow], allowed_dags: AllowedDags, feed_format: FeedFormat
    ) -> Message | None:
        return (
            body(b"".join(self._frame(line, allowed_dags, feed_format) for line in lines)) if lines else None
        )

    def _frame(self, line: LogRow, allowed_dags: AllowedDags, feed_format: FeedFormat) -> bytes:
        seen = redact_body(line.type, line.body, allowed_dags)
        if seen is not line.body:  # this reader's own
            return feed_format.event(str(Cursor(self.epoch, line.seq)), line.type, seen)
        key = (line.seq, feed_format)
        if key not in self._frames:
            self._frames[key] = feed_format.event(str(Cursor(self.epoch, line.seq)), line.type, line.body)
        return self._frames[key]


KEPT_BYTES = 8 * 1024 * 1024  # of bodies: a burst of 10,000 events. In memory they take three times as much
BLOCK_BYTES = 128 * 1024  # of bodies in one chunk, so in one write: all that a slow reader costs in memory


class EventBuffer:
    """The latest chunks without a gap between them, up to `end`.
    Older chunks fall off, and readers then use the log."""

    def __init__(self, end: Cursor) -> None:
        self.end = end
        self._blocks: deque[EventChunk] = deque()
        self._size = 0

    def split(self, lines: Sequence[LogRow]) -> list[EventChunk]:
        """Return the events that follow the end as chunks, which are to be added one after another."""
        chunks: list[EventChunk] = []
        part: list[LogRow] = []
        size, after = 0, self.end.seq
        for line in lines:
            part.append(line)
            size += len(line.body)
            if size >= BLOCK_BYTES or line is lines[-1]:
                chunks.append(EventChunk(self.end.epoch, after, part))
                size, after, part = 0, line.seq, []
        return chunks

    def add(self, chunk: EventChunk) -> None:
        """Add the chunk that follows the end."""
        self._blocks.append(chunk)
        self._size += chunk.size
        self.end = Cursor(self.end.epoch, chunk.upto)
        while self._size > KEPT_BYTES and len(self._blocks) > 1:
            self._size -= self._blocks.popleft().size

    def following(self, place: Cursor) -> EventChunk | None:
        """Return the chunk with the events behind a place, or None if the buffer lacks it."""
        if place.epoch != self.end.epoch or not self._blocks:
            return None
        if not self._blocks[0].after <= place.seq < self.end.seq:
            return None
        return self._blocks[bisect_right(self._blocks, place.seq, key=lambda block: block.after) - 1]
