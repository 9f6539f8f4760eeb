"""Writes that share a transaction: none is answered before the commit, one that fails takes none along."""

import asyncio
from functools import partial

import pytest
from sqlalchemy import Connection, func, insert, select

from monitor.database.engine import Database
from monitor.database.schema import unsubscribed
from monitor.delivery.write_batcher import MOST, WriteBatcher
from tests.unit.conftest import NOW


def add(address: str, connection: Connection) -> str:
    connection.execute(insert(unsubscribed).values(address=address, rule="r", at=NOW))
    return address


def fail(address: str, connection: Connection) -> str:
    add(address, connection)
    raise ValueError(address)


def kept(database: Database) -> int:
    count = select(func.count()).select_from(unsubscribed)
    return database.read_now(lambda connection: connection.execute(count).scalar_one())


def test_what_is_asked_for_together_is_committed_together(database: Database) -> None:
    transactions: set[int] = set()

    def noted(address: str, connection: Connection) -> int:
        add(address, connection)
        transactions.add(id(connection.get_transaction()))
        return kept(database)  # another connection: what is committed by now

    async def story() -> list[int]:
        clerk = WriteBatcher(database)
        return list(await asyncio.gather(*(clerk.write(partial(noted, str(number))) for number in range(20))))

    assert set(asyncio.run(story())) == {0}
    assert len(transactions) == 1
    assert kept(database) == 20


def test_one_that_fails_is_undone_alone(database: Database) -> None:
    async def story() -> list[object]:
        clerk = WriteBatcher(database)
        wishes = [partial(fail if number == 3 else add, str(number)) for number in range(6)]
        return list(await asyncio.gather(*map(clerk.write, wishes), return_exceptions=True))

    results = asyncio.run(story())
    assert [isinstance(result, ValueError) for result in results] == [number == 3 for number in range(6)]
    assert kept(database) == 5


def test_more_than_one_transaction_takes_is_done_all_the_same(database: Database) -> None:
    async def story() -> None:
        clerk = WriteBatcher(database)
        await asyncio.gather(*(clerk.write(partial(add, str(number))) for number in range(2 * MOST + 1)))

    asyncio.run(story())
    assert kept(database) == 2 * MOST + 1


def test_who_gives_up_waiting_stops_nobody(database: Database) -> None:
    async def story() -> None:
        clerk = WriteBatcher(database)
        given_up = asyncio.create_task(clerk.write(partial(add, "one")))
        other = asyncio.create_task(clerk.write(partial(add, "two")))
        await asyncio.sleep(0)
        given_up.cancel()
        assert await other == "two"
        with pytest.raises(asyncio.CancelledError):
            await given_up

    asyncio.run(story())
    assert kept(database) == 2
