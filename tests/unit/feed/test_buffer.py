"""The feed's parts: what a reader takes, and the buffer."""

import json
import uuid
from functools import partial
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection

from monitor.database.engine import Database
from monitor.event_log import filters, read
from monitor.event_log.append import append
from monitor.event_log.cursor import Cursor
from monitor.event_log.filters import AllowedDags, Filter
from monitor.event_log.read import EventLogPage, LogRow
from monitor.events.event import parse_event
from monitor.feed.buffer import (
    BLOCK_BYTES,
    KEPT_BYTES,
    EventBuffer,
    EventChunk,
    FeedFormat,
    Subscription,
    body,
)
from tests.sample import asset_event, run_event, task_event
from tests.unit.conftest import NOW

NAMES = ("etl", "ETL", "etl2", "e[t]l", "e?l", "per%cent", "new\nline", "ü")
GLOBS = ("*", "etl", "etl*", "e?l", "e[t]l", "*%*", "*\n*", "?", "ETL", "*ü", "e*l*2", "")


def log(database: Database, events: list[dict[str, Any]]) -> list[LogRow]:
    batch = [parse_event(one) for one in events]
    database.write_now(lambda connection: append(connection, batch, NOW))
    return database.read_now(lambda connection: read.lines_after(connection, 0, 1_000))


def _found(connection: Connection, wanted: Filter, visible: AllowedDags) -> EventLogPage:
    return read.read_after(connection, 0, 1_000, wanted, visible)


def samples() -> list[dict[str, Any]]:
    return [
        *(run_event(dag_id=name, run_id=str(uuid.uuid4())) for name in NAMES),
        *(task_event("failed", name, "etl", str(uuid.uuid4())) for name in NAMES),
        asset_event(1, source_dag_id="etl"),
        run_event() | {"source": "/airflow/elsewhere"},
    ]


@pytest.mark.parametrize(
    "visible",
    [None, frozenset(), frozenset({("local", "etl")}), frozenset({("elsewhere", "etl"), ("local", "ü")})],
    ids=["everything", "nothing", "one", "two"],
)
def test_a_selection_takes_just_what_the_log_finds(database: Database, visible: AllowedDags) -> None:
    """Readers that are live and readers that catch up must not differ in anything."""
    lines = log(database, samples())
    for name in filters.FILTERS:
        for glob in GLOBS:
            wanted = Filter.from_values(**{name: [glob, "nothing else"]})
            page = database.read_now(partial(_found, wanted=wanted, visible=visible))
            taken = [line.seq for line in lines if Subscription(wanted, visible).takes(line)]
            assert taken == [one.seq for one in page.events], (name, glob)


def line(seq: int, dag_id: str = "etl", size: int = 10) -> LogRow:
    return LogRow(seq, "t", "x" * size, "local", dag_id, None, None, None, None)


def extend(tape: EventBuffer, lines: list[LogRow]) -> list[EventChunk]:
    chunks = tape.split(lines)
    for chunk in chunks:
        tape.add(chunk)
    return chunks


def test_the_tape_gives_what_follows_a_place_without_a_gap() -> None:
    tape = EventBuffer(Cursor("a", 10))
    extend(tape, [line(11), line(12, size=BLOCK_BYTES), line(13)])
    extend(tape, [line(15)])  # the log may leave numbers out
    assert tape.end == Cursor("a", 15)
    for seq, upto in ((10, 12), (11, 12), (12, 13), (13, 15), (14, 15)):
        block = tape.following(Cursor("a", seq))
        assert block is not None
        assert block.upto == upto
    for place in (Cursor("a", 9), Cursor("a", 15), Cursor("b", 11)):
        assert tape.following(place) is None


def test_the_tape_forgets_its_oldest_blocks() -> None:
    tape = EventBuffer(Cursor("a", 0))
    many = 2 * KEPT_BYTES // BLOCK_BYTES
    for seq in range(1, many + 1):
        extend(tape, [line(seq, size=BLOCK_BYTES)])
    kept = [seq for seq in range(many) if tape.following(Cursor("a", seq))]
    assert kept == list(range(kept[0], many))
    assert len(kept) == KEPT_BYTES // BLOCK_BYTES


@pytest.mark.parametrize("sign", ["\x85", "\u2028", "\u2029"])
def test_no_reader_finds_the_end_of_a_line_within_an_event(sign: str) -> None:
    """httpx' iter_lines and str.splitlines end lines there."""
    event = parse_event(
        task_event("failed", error={"type": "E", "message": f"a{sign}b größe", "traceback": None})
    )
    assert sign in event.body
    ndjson = FeedFormat.NDJSON.event("e-1", event.type, event.body).decode()
    (line,) = ndjson.splitlines()
    assert json.loads(line)["event"] == json.loads(event.body)
    assert "größe" in line
    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=ndjson))) as client:
        assert list(client.get("http://feed").iter_lines()) == [line]
    sse = FeedFormat.SSE.event("e-1", event.type, event.body).decode()
    assert [part.partition(":")[0] for part in sse.splitlines()] == ["id", "event", "data", ""]


def test_readers_that_want_the_same_share_its_bytes() -> None:
    (block,) = extend(EventBuffer(Cursor("a", 0)), [line(1), line(2, "other"), line(3)])
    wanted = Filter.from_values(dag_id=["etl"])
    first, second = (block.following(0, Subscription(wanted, None), FeedFormat.SSE) for _ in range(2))
    assert first is second
    assert first is not None
    assert first["body"].count(b"\n\n") == 2
    assert block.following(1, Subscription(wanted, None), FeedFormat.SSE) == body(
        FeedFormat.SSE.event("a-3", "t", "x" * 10)
    )
    assert block.following(0, Subscription(Filter.from_values(dag_id=["none"]), None), FeedFormat.SSE) is None
