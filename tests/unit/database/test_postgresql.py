"""PostgreSQL: how it is connected to, what is bounded, and migrations by several replicas at once."""

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, OperationalError

from monitor.database.engine import Database
from monitor.database.migrate import migrate, migrate_patiently, versions
from monitor.errors import SettingsError
from tests.monitor_process import WINDSOCK, MonitorProcess
from tests.postgres_server import PostgresServer

STARTING = 4
"""Replicas that start together."""


@pytest.fixture(scope="module")
def network() -> Iterator[PostgresServer]:
    """A server that is reached over TCP."""
    server = PostgresServer("127.0.0.1").start()
    yield server
    server.stop()


def shown(database: Database, *names: str) -> list[str]:
    return database.read_now(lambda connection: [str(connection.scalar(text(f"SHOW {n}"))) for n in names])


@pytest.mark.slow
def test_every_wait_is_bounded_on_both_sides(network: PostgresServer) -> None:
    database = Database(network.url(), statement_timeout=7.5, name="windsock here:8090")
    keep_alive = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
    timeouts = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    try:
        assert shown(database, *keep_alive, "tcp_user_timeout") == ["5", "2", "3", "11000"]
        assert shown(database, *timeouts) == ["7500ms", "15s", "10s"]
        assert shown(database, "application_name") == ["windsock here:8090"]
        assert database.apart("leader")["application_name"] == "windsock here:8090 leader"
    finally:
        database.close()


@pytest.mark.slow
def test_what_the_address_says_goes_before(network: PostgresServer) -> None:
    query = "application_name=mine&options=-c%20statement_timeout%3D1234ms&connect_timeout=9"
    database = Database(f"{network.url()}?{query}")
    try:
        assert shown(database, "application_name", "statement_timeout") == ["mine", "1234ms"]
        assert database.apart("listen")["connect_timeout"] == "9"
    finally:
        database.close()


def test_a_statement_that_takes_too_long_is_ended(postgres_url: str) -> None:
    database = Database(postgres_url, statement_timeout=0.05)
    try:
        with pytest.raises(OperationalError, match="statement timeout"):
            database.read_now(lambda connection: connection.execute(text("SELECT pg_sleep(5)")))
        migrate(database)  # for which it does not count
        assert versions(database)[0] == versions(database)[1]
    finally:
        database.close()


@pytest.mark.parametrize("pool_size", [4, 5, 8, 20])
def test_as_many_threads_as_connections(postgres_url: str, pool_size: int) -> None:
    database = Database(postgres_url, pool_size=pool_size)
    try:
        assert database.engine.pool.size() == pool_size  # type: ignore[attr-defined]
        assert database.threads == pool_size
    finally:
        database.close()


def test_a_former_primary_is_left(postgres_url: str) -> None:
    """One that takes no writes any more: the next connection looks for the one that does."""
    database = Database(postgres_url)

    def write(read_only: bool) -> int:
        def go(connection: Connection) -> int:
            if read_only:
                connection.execute(text("SET TRANSACTION READ ONLY"))
            connection.execute(text("CREATE TABLE IF NOT EXISTS t ()"))
            return int(connection.scalar(text("SELECT pg_backend_pid()")))

        return database.write_now(go)

    try:
        before = write(read_only=False)
        with pytest.raises(DBAPIError, match="read-only") as caught:
            write(read_only=True)
        assert caught.value.connection_invalidated
        assert write(read_only=False) != before
    finally:
        database.close()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_addresses_as_providers_write_them(scheme: str) -> None:
    database = Database(f"{scheme}://user:secret@db.example.com/windsock")
    assert database.url.drivername == "postgresql+psycopg"
    database.close()


def test_an_address_that_cannot_be_read_is_not_repeated() -> None:
    with pytest.raises(SettingsError, match="WINDSOCK_DATABASE_URL") as caught:
        Database("postgresql://user:secret@host:port/windsock")
    assert "secret" not in str(caught.value)


def test_replicas_that_start_together_migrate_once(postgres_url: str) -> None:
    databases = [Database(postgres_url) for _ in range(STARTING)]
    try:
        with ThreadPoolExecutor(STARTING) as at_once:
            for future in [at_once.submit(migrate, database) for database in databases]:
                future.result()
        found, wanted = versions(databases[0])
        assert found == wanted
        count = databases[0].read_now(lambda c: c.scalar(text("SELECT count(*) FROM log_state")))
        assert count == 1
    finally:
        for database in databases:
            database.close()


@pytest.mark.slow
def test_a_start_waits_for_a_database_that_starts_too(caplog: pytest.LogCaptureFixture) -> None:
    server = PostgresServer().start()
    database = Database(server.create())
    try:
        server.go_down()
        with ThreadPoolExecutor(1) as beside:
            started = beside.submit(migrate_patiently, database)
            with pytest.raises(OperationalError):
                migrate_patiently(database, patience=0.1)
            server.come_up()
            started.result()
        assert "does not answer yet" in caplog.text
    finally:
        database.close()
        server.stop()


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_newer_schema_is_refused_in_a_sentence(postgres_url: str, tmp_path: Path, command: str) -> None:
    database = Database(postgres_url)
    migrate(database)
    database.write_now(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    database.close()
    env = MonitorProcess(tmp_path, {"WINDSOCK_DATABASE_URL": postgres_url}).env
    ended = subprocess.run(
        [WINDSOCK, command], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == 2
    assert "written by a newer Windsock: run that release, or restore a backup" in ended.stderr
    assert "Traceback" not in ended.stderr
