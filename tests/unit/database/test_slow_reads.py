"""A read that takes too long is ended, on both databases, and holds up nobody."""

import asyncio
import contextlib
from collections.abc import Iterator

import pytest
from fastapi import Request
from sqlalchemy import Connection, bindparam, literal, select, text
from sqlalchemy.exc import OperationalError

from monitor.database.engine import READERS, Database, is_too_long
from monitor.database.statements import Statement
from monitor.settings import Settings
from tests.unit.web_support import serving

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

        async def slow(request: Request) -> None:
            await request.app.state.services.database.read(endless)

        monitor.app.add_api_route("/slow", slow)
        answer = monitor.client.get("/slow")
        assert answer.status_code == 503
        assert "took longer than 0.2 s; ask for less" in answer.json()["detail"]
        assert monitor.client.get("/api/v1/events").status_code == 200
