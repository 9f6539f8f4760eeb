"""Statements that go past SQLAlchemy fail as if they had gone through it."""

import pytest
from sqlalchemy import Connection, func, insert, select
from sqlalchemy.exc import IntegrityError, OperationalError

from monitor.database.engine import Database, savepoint
from monitor.database.schema import unsubscribed
from monitor.database.statements import BulkInsert, Statement, on_driver, plain
from tests.unit.conftest import NOW

ROW = {"address": "a@example.com", "rule": "failures", "at": NOW}
PUT = Statement(lambda insert: insert(unsubscribed).returning(*unsubscribed.c), columns=tuple(ROW))
COUNT = Statement(lambda _insert: select(func.count().label("number")).select_from(unsubscribed))


def number(connection: Connection) -> int:
    return int(COUNT.rows(connection)[0]["number"])


def test_it_answers_what_it_wrote_as_sqlalchemy_would(database: Database) -> None:
    assert database.write_now(lambda connection: PUT.rows(connection, **ROW)) == [ROW]
    assert database.read_now(number) == 1


@pytest.mark.parametrize("rows", [[ROW], [ROW, {**ROW, "rule": "successes"}]])
def test_a_conflict_is_sqlalchemys_error_and_undoes_the_transaction(
    database: Database, rows: list[dict[str, object]]
) -> None:
    def write(connection: Connection) -> None:
        connection.execute(insert(unsubscribed), {**ROW, "address": "b@example.com"})
        connection.execute(insert(unsubscribed), ROW)
        BulkInsert(unsubscribed, plain(unsubscribed)).rows(connection, rows)

    with pytest.raises(IntegrityError):
        database.write_now(write)
    assert database.read_now(number) == 0


def test_a_value_that_is_lacking_is_a_mistake_of_ours(database: Database) -> None:
    with pytest.raises(KeyError, match="rule"):
        database.write_now(lambda connection: PUT.rows(connection, address="a@example.com", at=NOW))


def test_a_connection_that_is_gone_is_not_used_again(database: Database) -> None:
    if database.url.get_backend_name() == "sqlite":
        pytest.skip("SQLite has no server to lose")

    def end_it(connection: Connection) -> None:
        on_driver(connection, "SELECT pg_terminate_backend(pg_backend_pid()) WHERE %s = 1", (1,))

    with pytest.raises(OperationalError) as told:
        database.write_now(end_it)
    assert told.value.connection_invalidated
    assert database.read_now(number) == 0


def test_a_part_that_fails_is_taken_back_alone(database: Database) -> None:
    def fail(connection: Connection) -> None:
        with savepoint(connection):
            with savepoint(connection):
                PUT.rows(connection, **{**ROW, "rule": "successes"})
            PUT.rows(connection, **{**ROW, "rule": "watches"})
            raise ZeroDivisionError

    def write(connection: Connection) -> None:
        PUT.rows(connection, **ROW)
        with pytest.raises(ZeroDivisionError):
            fail(connection)
        with savepoint(connection):
            PUT.rows(connection, **{**ROW, "rule": "import-errors"})

    database.write_now(write)
    assert database.read_now(number) == 2


def test_a_part_whose_connection_is_gone_says_so(database: Database) -> None:
    if database.url.get_backend_name() == "sqlite":
        pytest.skip("SQLite has no server to lose")

    def write(connection: Connection) -> None:
        with savepoint(connection):
            on_driver(connection, "SELECT pg_terminate_backend(pg_backend_pid()) WHERE %s = 1", (1,))

    with pytest.raises(OperationalError, match="terminating connection"):
        database.write_now(write)
