"""The feed's loop, on each database: replay and live as one, resets, heartbeats, rights."""

import asyncio
import json
import random
import threading
import uuid
from asyncio import create_task
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event

from monitor.concurrency import WakeSignal
from monitor.database.engine import Database
from monitor.event_log import append as event_log_append
from monitor.event_log import cursor as event_log_cursor
from monitor.event_log import read as event_log_read
from monitor.event_log.append import append
from monitor.event_log.cursor import Cursor
from monitor.event_log.deployments import LoggedDags
from monitor.event_log.filters import AllowedDags, Filter
from monitor.event_log.projections import dags
from monitor.events.event import Event, parse_event
from monitor.feed.buffer import FeedFormat, Message, Subscription
from monitor.feed.connections import PAGE, FeedFull, FeedServer, FindStart, from_cursor, from_now, from_time
from monitor.feed.subscriber import FeedEnded, Rights
from monitor.observability.metrics import Metrics
from tests.sample import asset_event, run_event, task_event
from tests.unit.conftest import NOW

DEADLINE = 20.0

Frame = tuple[str, str, Any]
"""An SSE message: its id, its event, its data decoded (None: none)."""


def add(database: Database, *names: str, at: timedelta = timedelta()) -> None:
    """Log the success of a new run of each DAG named."""
    batch = [parse_event(run_event(dag_id=name, run_id=str(uuid.uuid4()))) for name in names]
    database.write_now(lambda connection: append(connection, batch, NOW + at))


def cursor(database: Database, seq: int) -> Cursor:
    return Cursor(database.read_now(event_log_cursor.state).epoch, seq)


async def everything() -> AllowedDags:
    return None


def parse(chunk: bytes) -> list[Frame]:
    frames = []
    for block in chunk.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        data = json.loads(fields["data"]) if "data" in fields else None
        frames.append((fields.get("id", ""), fields.get("event", ""), data))
    return frames


class Reading:
    """One reader, on feeds of its own unless others share them."""

    def __init__(
        self,
        database: Database,
        start: FindStart = from_now,
        wanted: Filter | None = None,
        rights: Rights | None = None,
        heartbeat: float = 1000,
        form: FeedFormat = FeedFormat.SSE,
        among: "Reading | None" = None,
    ) -> None:
        self.wake: WakeSignal = among.wake if among else WakeSignal()
        self.feeds: FeedServer = (
            among.feeds
            if among
            else FeedServer(database, self.wake, Metrics(), LoggedDags(database, dags.every_dag), heartbeat)
        )
        self._work: list[asyncio.Task[None]] = (
            among._work if among else [create_task(self.feeds.publish()), create_task(self.feeds.attend())]
        )
        self.takes = asyncio.Event()
        """Cleared, the reader takes nothing more."""
        self.takes.set()
        self.chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self.waiting = 0
        """Writes that it has not taken yet."""
        self.ended = asyncio.Event()
        self.reader = self.feeds.join(start, Subscription(wanted or Filter(), None), form, self._send, rights)

    async def _send(self, message: Message) -> None:
        self.waiting += 1
        await self.takes.wait()
        self.waiting -= 1
        self.chunks.put_nowait(message["body"])
        if not message["more_body"]:
            self.ended.set()

    async def frames(self, until: Callable[[list[Frame]], bool]) -> list[Frame]:
        """Read on until what was read since fulfils the condition."""
        found: list[Frame] = []
        while not until(found):
            found += parse(await asyncio.wait_for(self.chunks.get(), DEADLINE))
        return found

    async def events(self, count: int) -> list[Frame]:
        found = await self.frames(lambda frames: len([f for f in frames if f[2]]) >= count)
        return [frame for frame in found if frame[2]]

    async def live(self) -> None:
        """Until it is served with the others."""
        await _until(lambda: self.reader.live)

    async def in_hand(self) -> None:
        """Until something is being written to it."""
        await _until(lambda: self.waiting > 0)


async def _until(condition: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + DEADLINE
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.005)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 3 * DEADLINE))


def seqs(frames: list[Frame]) -> list[int]:
    return [int(frame[0].partition("-")[2]) for frame in frames]


def test_replay_and_live_are_one_without_a_gap_or_a_double(database: Database) -> None:
    many = PAGE * 3 + 7
    add(database, *["etl"] * (many // 2))

    async def read() -> None:
        reading = Reading(database, from_cursor(cursor(database, 0)))
        loop = asyncio.get_running_loop()

        def write() -> None:
            for _ in range(many - many // 2):
                add(database, "etl")
                loop.call_soon_threadsafe(reading.wake.set)

        writer = threading.Thread(target=write, daemon=True)
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


def ingested(database: Database, reading: Reading, *names: str) -> None:
    """Logged by this process, which hands over what it has committed."""
    batch = [parse_event(run_event(dag_id=name, run_id=str(uuid.uuid4()))) for name in names]

    def write(connection: Connection) -> tuple[Cursor, list[tuple[int, Event]]]:
        end = event_log_append.lock(connection)
        seqs = append(connection, batch, NOW, end)
        return end, [(seq, one) for seq, one in zip(seqs, batch, strict=True) if seq is not None]

    reading.feeds.hand(*database.write_now(write))


def test_what_is_handed_over_needs_no_look_at_the_log(database: Database) -> None:
    asked: list[str] = []

    async def read() -> None:
        reading = Reading(database)
        await reading.live()
        ingested(database, reading, "one")
        event.listen(database.engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
        first = await reading.events(1)
        assert not asked
        ingested(database, reading, "two", "three")
        assert seqs(first + await reading.events(2)) == [1, 2, 3]

    run(read())


@pytest.mark.parametrize("seed", range(4))
def test_what_others_write_falls_nowhere_between_what_is_handed_over(database: Database, seed: int) -> None:
    """Another process's events are found by the wake that it sends, or by what follows on them."""
    chance = random.Random(seed)  # noqa: S311 (no secret)

    async def read() -> None:
        reading = Reading(database)
        await reading.live()
        for number in range(40):
            if chance.random() < 0.4:
                add(database, f"other_{number}")
                if chance.random() < 0.5:
                    reading.wake.set()
            else:
                ingested(database, reading, f"own_{number}", f"own_{number}_too")
            await asyncio.sleep(chance.choice([0, 0, 0.01]))
        reading.wake.set()
        upto = database.read_now(event_log_cursor.state).last_seq
        assert seqs(await reading.events(upto)) == list(range(1, upto + 1))

    run(read())


def test_an_event_handed_over_is_just_as_the_log_has_it(database: Database) -> None:
    told = [parse_event(raw) for raw in (run_event("failed"), task_event("failed"), asset_event(1))]
    database.write_now(lambda connection: append(connection, told, NOW))
    lines = database.read_now(lambda connection: event_log_read.lines_after(connection, 0, 10))
    assert [event_log_append.line_of(seq, one) for seq, one in enumerate(told, 1)] == lines


def test_since_begins_with_what_was_received_then(database: Database) -> None:
    add(database, "etl")
    add(database, "etl", "etl", at=timedelta(seconds=10))

    async def read() -> None:
        reading = Reading(database, from_time(NOW + timedelta(seconds=10)))
        assert seqs(await reading.events(2)) == [2, 3]

    run(read())


def test_a_frame_holds_the_type_and_the_event_as_it_was_logged(database: Database) -> None:
    told = run_event(dag_id="umlaut ü \u2028 line")
    database.write_now(lambda connection: append(connection, [parse_event(told)], NOW))

    async def read() -> None:
        (frame,) = await Reading(database, from_cursor(cursor(database, 0))).events(1)
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
        database.write_now(lambda connection: event_log_append.prune(connection, NOW + timedelta(hours=1)))
        kept = [4]
    begin = lost if isinstance(lost, Cursor) else cursor(database, 99 if lost is None else 1)

    async def read() -> None:
        first, *events = await Reading(database, from_cursor(begin)).events(1 + len(kept))
        oldest = str(cursor(database, kept[0] - 1))
        assert first[:2] == (oldest, "reset")
        assert first[2]["cursor"] == oldest
        assert reason in first[2]["reason"]
        assert seqs(events) == kept

    run(read())


def test_a_reader_that_lags_behind_retention_is_reset_too(database: Database) -> None:
    add(database, *["etl"] * (PAGE + 5))

    async def read() -> None:
        reading = Reading(database, from_cursor(cursor(database, 0)))
        reading.takes.clear()  # the opening is under way, and waits
        await reading.in_hand()
        add(database, "etl", at=timedelta(days=1))
        database.write_now(lambda connection: event_log_append.prune(connection, NOW + timedelta(hours=1)))
        reading.takes.set()
        first, event = await reading.events(2)
        assert first[1] == "reset"
        assert seqs([event]) == [PAGE + 6]

    run(read())


def test_a_slow_reader_holds_nobody_up_and_misses_nothing(database: Database) -> None:
    async def read() -> None:
        slow = Reading(database)
        quick = Reading(database, among=slow)
        await slow.live()
        await quick.live()
        slow.takes.clear()
        for number in range(1, 8):
            add(database, *["etl"] * PAGE)
            slow.wake.set()
            assert seqs(await quick.events(PAGE))[-1] == number * PAGE
        assert not slow.reader.live
        assert slow.waiting == 1  # one write is all that is kept for it
        slow.takes.set()
        assert seqs(await slow.events(7 * PAGE)) == list(range(1, 7 * PAGE + 1))
        await slow.live()

    run(read())


def test_a_reader_of_one_dag_is_not_asked_about_others_and_misses_nothing(database: Database) -> None:
    async def read() -> None:
        everyone = Reading(database)
        one = Reading(database, wanted=Filter.from_values(dag_id=["mine"]), among=everyone)
        await everyone.live()
        await one.live()
        for _ in range(3):
            add(database, "theirs", "theirs", "mine", "theirs")
            everyone.wake.set()
            await everyone.events(4)
        assert seqs(await one.events(3)) == [3, 7, 11]
        add(database, "theirs")
        everyone.wake.set()
        await everyone.events(1)
        late = Reading(
            database,
            from_cursor(cursor(database, 7)),
            Filter.from_values(dag_id=["mine", "theirs"]),
            among=everyone,
        )
        assert seqs(await late.events(6)) == [8, 9, 10, 11, 12, 13]

    run(read())


def test_ndjson_is_an_object_a_line(database: Database) -> None:
    add(database, "etl")

    async def read() -> None:
        reading = Reading(database, from_cursor(Cursor("abcdef", 1)), form=FeedFormat.NDJSON, heartbeat=0.05)
        place = [str(cursor(database, seq)) for seq in (0, 1)]
        lines: list[Any] = []
        while len(lines) < 3:
            chunk = await asyncio.wait_for(reading.chunks.get(), DEADLINE)
            lines += [json.loads(line) for line in chunk.decode().splitlines()]
        reset, event, heartbeat = lines[:3]
        assert reset == {"id": place[0], "reset": {"reason": "the cursor is of another log (epoch)"}}
        assert (event["id"], event["event"]["data"]["dag_id"]) == (place[1], "etl")
        assert heartbeat == {"id": place[1]}

    run(read())


def test_a_heartbeat_carries_how_far_a_silent_filter_has_looked(database: Database) -> None:
    async def read() -> None:
        reading = Reading(database, wanted=Filter.from_values(dag_id=["never"]), heartbeat=0.05)
        await reading.live()
        add(database, *["etl"] * 3)
        reading.wake.set()
        wanted = (str(cursor(database, 3)), "", None)
        found = await reading.frames(lambda frames: wanted in frames)
        assert all(frame[2] is None for frame in found)

    run(read())


def test_rights_are_asked_for_again_and_their_end_is_the_feeds(database: Database) -> None:
    allowed: list[AllowedDags] = [frozenset({("local", "mine")})]

    async def rights() -> AllowedDags:
        if not allowed:
            raise FeedEnded("signed out")
        return allowed[0]

    async def read() -> None:
        reading = Reading(database, from_cursor(cursor(database, 0)), rights=rights)
        add(database, "mine", "theirs", "mine")
        assert seqs(await reading.events(2)) == [1, 3]
        allowed[0] = frozenset({("local", "theirs")})
        reading.feeds.rights_changed()
        add(database, "mine", "theirs")
        reading.wake.set()
        assert seqs(await reading.events(1)) == [5]
        allowed.clear()
        reading.feeds.rights_changed()
        add(database, "theirs")
        reading.wake.set()
        await asyncio.wait_for(reading.ended.wait(), DEADLINE)
        assert not any(frame[2] for frame in await reading.frames(bool))

    run(read())


def test_rights_are_asked_for_though_nothing_happens(database: Database) -> None:
    async def rights() -> AllowedDags:
        if asked:
            raise FeedEnded("signed out")
        asked.append(True)
        return frozenset({("local", "mine")})

    asked: list[bool] = []

    async def read() -> None:
        reading = Reading(database, rights=rights, heartbeat=0.05)
        await reading.live()
        reading.feeds.rights_changed()
        await asyncio.wait_for(reading.ended.wait(), DEADLINE)

    run(read())


def test_closing_ends_every_feed_with_its_place_and_when_to_come_back(database: Database) -> None:
    add(database, "etl")

    async def read() -> None:
        reading = Reading(database)
        slow = Reading(database, among=reading)
        slow.takes.clear()
        await reading.live()
        await slow.in_hand()
        reading.feeds.close()
        slow.takes.set()
        for each in (reading, slow):
            await asyncio.wait_for(each.ended.wait(), DEADLINE)
            written = b"".join([each.chunks.get_nowait() for _ in range(each.chunks.qsize())])
            assert written.count(b"retry: ") == 2
            assert written.endswith(f"id: {cursor(database, 1)}\n\n".encode())

    run(read())


def test_there_is_room_for_so_many_readers_and_their_places_are_given_back(database: Database) -> None:
    async def read() -> None:
        feeds = FeedServer(database, WakeSignal(), Metrics(), LoggedDags(database, dags.every_dag), limit=2)

        async def send(message: Message) -> None: ...

        for _ in range(2):
            feeds.require_room()
            reader = feeds.join(from_now, Subscription(Filter(), None), FeedFormat.SSE, send)
        with pytest.raises(FeedFull, match="2 feeds are open"):
            feeds.require_room()
        feeds.leave(reader)
        feeds.leave(reader)
        feeds.require_room()

    run(read())
