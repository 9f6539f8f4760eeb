"""How often the database is asked about a token: a thousand feeds ask for their rights before each page."""

import asyncio

import pytest
from sqlalchemy import Connection, event

from monitor.database.engine import Database
from monitor.web.auth import token_lookup, tokens
from monitor.web.auth.token_lookup import LOOKUP_SECONDS, TokenLookup
from monitor.web.auth.tokens import Draft, Owner, Scope
from tests.unit.conftest import NOW, FakeClock


class Queries:
    """Counts what is read of tokens."""

    def __init__(self, database: Database) -> None:
        self.number = 0
        event.listen(database.engine, "before_cursor_execute", self._count)

    def _count(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        self.number += statement.startswith("SELECT tokens")


@pytest.fixture
def secret(database: Database) -> str:
    draft = Draft("t", frozenset({Scope.READ}), None)
    return database.write_now(lambda connection: tokens.add(connection, draft, None, NOW))[1]


def test_many_ask_once(database: Database, secret: str, clock: FakeClock) -> None:
    lookup, queries = TokenLookup(database, clock), Queries(database)

    async def ask() -> None:
        found = await asyncio.gather(*(lookup.find(secret, "address ::1") for _ in range(1_000)))
        assert {token.name for token in found if token} == {"t"}
        assert queries.number == 1
        clock.forward(LOOKUP_SECONDS)
        await asyncio.gather(*(lookup.find(secret, "address ::1") for _ in range(1_000)))
        assert queries.number == 2
        lookup.forget()
        await lookup.find(secret, "address ::1")
        assert queries.number == 3

    asyncio.run(ask())


def test_what_is_remembered_is_bounded(database: Database, clock: FakeClock) -> None:
    """As many are remembered as may be; the one that was asked for first is looked up again."""
    lookup, queries = TokenLookup(database, clock), Queries(database)
    draft = Draft("t", frozenset({Scope.READ}), None)

    def make(connection: Connection) -> list[str]:
        of = [Owner(str(n), frozenset({"local"})) for n in range(token_lookup.MAX_KNOWN + 1)]
        return [tokens.add(connection, draft, owner, NOW)[1] for owner in of]

    made = database.write_now(make)

    async def ask() -> None:
        for secret in made:
            await lookup.find(secret, "address ::1")
        before = queries.number
        await lookup.find(made[-1], "address ::1")
        assert queries.number == before
        await lookup.find(made[0], "address ::1")
        assert queries.number == before + 1

    asyncio.run(ask())


def test_guesses_take_no_place(database: Database, secret: str, clock: FakeClock) -> None:
    lookup, queries = TokenLookup(database, clock), Queries(database)

    async def guess() -> None:
        await lookup.find(secret, "address ::1")
        for number in range(token_lookup.MAX_KNOWN // 20):
            assert await lookup.find(f"wst_guess{number}", "address ::1") is None
        before = queries.number
        await lookup.find(secret, "address ::1")
        assert queries.number == before  # it is still known

    asyncio.run(guess())
