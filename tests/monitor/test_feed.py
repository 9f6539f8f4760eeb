"""The feed's loop, on each database: replay and live as one, resets, heartbeats, rights."""

import asyncio
import json
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest

from monitor import event_log, feed
from monitor.database import Database
from monitor.event_log import Cursor, Filter, Visible
from monitor.events import parse_event
from monitor.feed import PAGE, FeedEnded, FeedFull, Feeds, Rights, Start, after, from_now, since
from monitor.metrics import Metrics
from monitor.wake import Wake
from tests.monitor.conftest import NOW
from tests.sample import run_event

DEADLINE = 20.0

Frame = tuple[str, str, Any]
"""An SSE message: its id, its event, its data decoded (None: none)."""


def add(database: Database, *names: str, at: timedelta = timedelta()) -> None:
    """Log the success of a new run of each DAG named."""
    batch = [parse_event(run_event(dag_id=name, run_id=str(uuid.uuid4()))) for name in names]
    database.write_now(lambda connection: event_log.append(connection, batch, NOW + at))


def cursor(database: Database, seq: int) -> Cursor:
    return Cursor(database.read_now(event_log.state).epoch, seq)


async def everything() -> Visible:
    return None


def parse(chunk: bytes) -> list[Frame]:
    frames = []
    for block in chunk.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        data = json.loads(fields["data"]) if "data" in fields else None
        frames.append((fields.get("id", ""), fields.get("event", ""), data))
    return frames


class Reading:
    """One reader, and the wake that tells it of news."""

    def __init__(
        self,
        database: Database,
        start: Start = from_now,
        wanted: Filter | None = None,
        rights: Rights = everything,
        heartbeat: float = 1000,
    ) -> None:
        self.wake = Wake()
        self.feeds = Feeds(database, self.wake, Metrics(), heartbeat)
        self.chunks: AsyncIterator[bytes] = self.feeds.follow(start, wanted or Filter(), rights)

    async def frames(self, until: Callable[[list[Frame]], bool]) -> list[Frame]:
        """Read on until what was read since fulfils the condition."""
        found: list[Frame] = []
        while not until(found):
            found += parse(await asyncio.wait_for(anext(self.chunks), DEADLINE))
        return found

    async def events(self, count: int) -> list[Frame]:
        found = await self.frames(lambda frames: len([f for f in frames if f[2]]) >= count)
        return [frame for frame in found if frame[2]]


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 3 * DEADLINE))


def seqs(frames: list[Frame]) -> list[int]:
    return [int(frame[0].partition("-")[2]) for frame in frames]


def test_replay_and_live_are_one_without_a_gap_or_a_double(database: Database) -> None:
    many = PAGE * 3 + 7
    add(database, *["etl"] * (many // 2))

    async def read() -> None:
        reading = Reading(database, after(cursor(database, 0)))
        loop = asyncio.get_running_loop()

        def write() -> None:
            for _ in range(many - many // 2):
                add(database, "etl")
                loop.call_soon_threadsafe(reading.wake.set)

        writer = threading.Thread(target=write)
        writer.start()
        found = await reading.events(many)
        await asyncio.to_thread(writer.join)
        assert seqs(found) == list(range(1, many + 1))

    run(read())


def test_without_a_cursor_only_what_comes_is_told_and_the_place_is_told_at_once(database: Database) -> None:
    add(database, "etl", "etl")

    async def read() -> None:
        reading = Reading(database)
        first = await reading.frames(lambda frames: len(frames) >= 2)
        assert first == [("", "", None), (str(cursor(database, 2)), "", None)]
        add(database, "etl")
        reading.wake.set()
        assert seqs(await reading.events(1)) == [3]

    run(read())


def test_since_begins_with_what_was_received_then(database: Database) -> None:
    add(database, "etl")
    add(database, "etl", "etl", at=timedelta(seconds=10))

    async def read() -> None:
        reading = Reading(database, since(NOW + timedelta(seconds=10)))
        assert seqs(await reading.events(2)) == [2, 3]

    run(read())


def test_a_frame_holds_the_type_and_the_event_as_it_was_logged(database: Database) -> None:
    told = run_event(dag_id="umlaut ü \u2028 line")
    database.write_now(lambda connection: event_log.append(connection, [parse_event(told)], NOW))

    async def read() -> None:
        (frame,) = await Reading(database, after(cursor(database, 0))).events(1)
        assert frame == (str(cursor(database, 1)), "airflow.dag_run.success", told)

    run(read())


@pytest.mark.parametrize(
    ("lost", "reason"),
    [(Cursor("abcdef", 1), "epoch"), (None, "ahead"), ("pruned", "older")],
    ids=["another log", "ahead", "pruned"],
)
def test_a_cursor_that_is_gone_is_answered_with_a_reset(database: Database, lost: Any, reason: str) -> None:
    add(database, "etl", "etl", "etl")
    kept = [1, 2, 3]
    if lost == "pruned":
        add(database, "etl", at=timedelta(days=1))
        database.write_now(lambda connection: event_log.prune(connection, NOW + timedelta(hours=1)))
        kept = [4]
    begin = lost if isinstance(lost, Cursor) else cursor(database, 99 if lost is None else 1)

    async def read() -> None:
        first, *events = await Reading(database, after(begin)).events(1 + len(kept))
        oldest = str(cursor(database, kept[0] - 1))
        assert first[:2] == (oldest, "reset")
        assert first[2]["cursor"] == oldest
        assert reason in first[2]["reason"]
        assert seqs(events) == kept

    run(read())


def test_a_reader_that_lags_behind_retention_is_reset_too(database: Database) -> None:
    add(database, *["etl"] * (PAGE + 5))

    async def read() -> None:
        reading = Reading(database, after(cursor(database, 0)))
        await reading.events(PAGE)
        add(database, "etl", at=timedelta(days=1))
        database.write_now(lambda connection: event_log.prune(connection, NOW + timedelta(hours=1)))
        first, event = await reading.events(2)
        assert first[1] == "reset"
        assert seqs([event]) == [PAGE + 6]

    run(read())


def test_a_heartbeat_carries_how_far_a_silent_filter_has_looked(database: Database) -> None:
    async def read() -> None:
        reading = Reading(database, wanted=Filter.of(dag_id=["never"]), heartbeat=0)
        add(database, *["etl"] * 3)
        wanted = (str(cursor(database, 3)), "", None)
        found = await reading.frames(lambda frames: wanted in frames)
        assert all(frame[2] is None for frame in found)

    run(read())


def test_rights_are_asked_for_each_page_and_their_end_is_the_feeds(database: Database) -> None:
    allowed: list[Visible] = [frozenset({("local", "mine")})]

    async def rights() -> Visible:
        if not allowed:
            raise FeedEnded("signed out")
        return allowed[0]

    async def read() -> None:
        reading = Reading(database, after(cursor(database, 0)), rights=rights)
        add(database, "mine", "theirs", "mine")
        assert seqs(await reading.events(2)) == [1, 3]
        allowed[0] = frozenset({("local", "theirs")})
        add(database, "mine", "theirs")
        reading.wake.set()
        assert seqs(await reading.events(1)) == [5]
        allowed.clear()
        add(database, "theirs")
        reading.wake.set()
        with pytest.raises(StopAsyncIteration):
            await reading.events(1)

    run(read())


def test_closing_ends_every_feed(database: Database) -> None:
    async def read() -> None:
        reading = Reading(database)
        await reading.frames(lambda frames: len(frames) >= 2)
        waiting = asyncio.create_task(reading.events(1))
        reading.feeds.close()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(waiting, DEADLINE)

    run(read())


def test_there_is_room_for_so_many_readers_and_their_places_are_given_back(database: Database) -> None:
    async def read() -> None:
        feeds = Feeds(database, Wake(), Metrics())
        readers = [feeds.follow(from_now, Filter(), everything) for _ in range(feed.MAX_READERS)]
        for reader in readers:
            await anext(reader)
        with pytest.raises(FeedFull, match=str(feed.MAX_READERS)):
            feeds.require_room()
        for reader in readers:
            await reader.aclose()  # type: ignore[attr-defined]
        feeds.require_room()

    run(read())
