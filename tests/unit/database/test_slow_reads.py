"""A read that takes too long is ended, on both databases, and holds up nobody."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from anyio import fail_after
from sqlalchemy import Connection, bindparam, literal, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from monitor.concurrency import end
from monitor.database.engine import READERS, SHARE, Database, ReadStopped, StopSignal, is_too_long
from monitor.database.statements import Statement
from monitor.settings import Settings
from monitor.web.services import ServicesDep
from tests.unit.web_support import serving
from tests.wait import DEADLINE, PAUSE

ENDLESS = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")
IN_TIME = 0.2  # seconds


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, settings: Settings) -> str:
    return settings.database if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def impatient(url: str) -> Iterator[Database]:
    with contextlib.closing(Database(url, statement_timeout=IN_TIME)) as database:
        yield database


def endless(connection: Connection) -> None:
    connection.execute(ENDLESS)


def test_a_read_that_takes_too_long_is_ended(impatient: Database) -> None:
    async def story() -> list[int | None]:
        slow = await asyncio.gather(
            *(impatient.read(endless) for _ in range(READERS)), return_exceptions=True
        )
        assert all(isinstance(one, OperationalError) and is_too_long(one) for one in slow), slow
        alive: list[int | None] = await asyncio.gather(
            *(impatient.read(lambda c: c.scalar(select(literal(1)))) for _ in slow)
        )
        return alive

    assert asyncio.run(story()) == [1] * READERS


def test_nothing_else_is_taken_for_it(impatient: Database) -> None:
    with pytest.raises(Exception, match="nothing_here") as caught:
        asyncio.run(impatient.read(lambda connection: connection.execute(text("SELECT * FROM nothing_here"))))
    assert not is_too_long(caught.value)


def test_a_write_has_its_time_on_sqlite(settings: Settings) -> None:
    """A migration, or the forgetting of old events, may take longer; it waits for nobody's wish."""
    bounded = text(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
        "SELECT max(i) FROM n"
    )
    with contextlib.closing(Database(settings.database, statement_timeout=0.001)) as database:
        with pytest.raises(OperationalError):
            asyncio.run(database.read(lambda connection: connection.scalar(bounded)))
        assert asyncio.run(database.write(lambda connection: connection.scalar(bounded))) == 200_000
        assert database.read_now(lambda connection: connection.scalar(bounded)) == 200_000


def test_a_statement_past_sqlalchemy_too(settings: Settings) -> None:
    numbers = select(literal(1).label("i")).cte("n", recursive=True)
    numbers = numbers.union_all(select((numbers.c.i + bindparam("step")).label("i")))
    prepared = Statement(lambda _insert: select(numbers.c.i).where(numbers.c.i < 0))
    database = Database(settings.database, statement_timeout=IN_TIME)
    with contextlib.closing(database), pytest.raises(OperationalError) as caught:
        asyncio.run(database.read(lambda connection: prepared.rows(connection, step=1)))
    assert is_too_long(caught.value)


def test_a_reader_is_told_so(settings: Settings, url: str) -> None:
    patience = {"database_url": url, "database_statement_timeout": IN_TIME}
    with serving(settings.model_copy(update=patience)) as monitor:

        async def slow(services: ServicesDep) -> None:
            await services.database.read(endless)

        monitor.app.add_api_route("/slow", slow)
        answer = monitor.client.get("/slow")
        assert answer.status_code == 503
        assert "took longer than 0.2 s; ask for less" in answer.json()["detail"]
        assert monitor.client.get("/api/v1/events").status_code == 200


def test_a_users_writes_wait_for_each_other_and_not_the_monitors_for_them(settings: Settings) -> None:
    done: list[str] = []
    gate = threading.Event()

    def write(name: str) -> Callable[[Connection], None]:
        def work(_connection: Connection) -> None:
            gate.wait(DEADLINE)
            done.append(name)

        return work

    async def story(database: Database) -> None:
        users = [asyncio.ensure_future(database.write_for("a", write(f"a{number}"))) for number in range(3)]
        await asyncio.sleep(PAUSE)
        own = asyncio.ensure_future(database.write(write("own")))
        await asyncio.sleep(PAUSE)
        gate.set()
        await asyncio.gather(own, *users)

    with contextlib.closing(Database(settings.database)) as database:
        asyncio.run(story(database))
    assert done == ["a0", "own", "a1", "a2"]


def test_slow_reads_that_overlap_do_not_let_the_journal_grow(settings: Settings) -> None:
    """SQLite empties it in a moment without readers alone."""
    slow = text(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
        "SELECT (SELECT count(*) FROM t), count(*) FROM n"
    )
    journal = Path(f"{make_url(settings.database).database}-wal")
    read: list[int] = []

    def size() -> int:
        return journal.stat().st_size

    def run_slow(connection: Connection) -> None:
        connection.execute(slow)
        read.append(1)

    async def read_on(database: Database) -> None:
        while True:
            await database.read_for("a", run_slow)

    async def story(database: Database) -> None:
        await database.write(lambda connection: connection.execute(text("CREATE TABLE t (b)")))
        readers = [asyncio.ensure_future(read_on(database)) for _ in range(SHARE)]
        many = text("INSERT INTO t VALUES (randomblob(100000))")
        while len(read) < SHARE or size() < 1_000_000:
            await database.write(lambda connection: connection.execute(many))
        await database.shorten_journal(limit=10**9)
        assert size() >= 1_000_000
        await database.shorten_journal(limit=1_000_000)
        assert size() < 1_000_000
        seen = len(read)
        with fail_after(DEADLINE):
            while len(read) == seen:  # noqa: ASYNC110 (threads append to it)
                await asyncio.sleep(PAUSE)
        await end(readers)

    with contextlib.closing(Database(settings.database)) as database:
        asyncio.run(story(database))


def test_a_read_that_is_stopped_before_it_begins_does_not_begin() -> None:
    stop = StopSignal()
    stop.set()
    with pytest.raises(ReadStopped), stop.reaching(lambda: None):
        pytest.fail("it began")


def test_a_request_to_end_a_query_that_comes_too_early_is_sent_again() -> None:
    """As PostgreSQL does, the first one finds nothing to end."""
    stop, asked, ended = StopSignal(), 0, threading.Event()

    def cancel() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            ended.set()

    with ThreadPoolExecutor(1) as other:
        with stop.reaching(cancel):
            setting = other.submit(stop.set)
            assert ended.wait(DEADLINE)
        setting.result(DEADLINE)
    assert asked == 2
