"""Whether the database can be written is known before an event is refused, and asking writes nothing."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.pool import ConnectionPoolEntry

from monitor.cli.check import check
from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.database.write_check import MIN_FREE_BYTES, STALE_SECONDS, WriteCheck, last_written
from monitor.observability.metrics import Metrics
from monitor.settings import Settings
from tests import wait
from tests.sample import run_event
from tests.unit.conftest import FakeClock
from tests.unit.web_support import Served, serving

AGE = "windsock_database_write_age_seconds"


class Seconds:
    """A steady clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_write_tells_how_long_ago_it_was(database: Database, clock: FakeClock) -> None:
    seconds, metrics = Seconds(), Metrics()
    checked = WriteCheck(database, metrics, clock, seconds)
    assert (checked.result.error, checked.result.age) == (None, None)
    for moment in (clock.now, clock.now.replace(hour=12)):
        clock.now = moment
        asyncio.run(checked.write())
        assert database.read_now(last_written) == moment
    seconds.now += 5
    assert checked.result.age == metrics.registry.get_sample_value(AGE) == 5
    assert not checked.result.is_stale
    seconds.now += STALE_SECONDS
    assert checked.result.is_stale


def refuse_writes(database: Database) -> None:
    """From now on, as a server that was switched to read-only, or a file on a read-only disk."""
    if database.is_shared:
        name = database.url.database
        database.write_now(
            lambda c: c.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
        )
    else:

        def on_connect(connection: object, _entry: ConnectionPoolEntry) -> None:
            connection.execute("PRAGMA query_only = on")  # type: ignore[attr-defined]

        event.listen(database.engine, "connect", on_connect)
    database.engine.dispose()


def test_a_database_that_takes_no_writes(
    database: Database, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    seconds, metrics = Seconds(), Metrics()
    checked = WriteCheck(database, metrics, clock, seconds)
    asyncio.run(checked.write())
    refuse_writes(database)
    for _ in range(3):
        seconds.now += 10
        asyncio.run(checked.write())
    assert "read" in (checked.result.error or "")
    assert checked.result.age == metrics.registry.get_sample_value(AGE) == 30
    assert len([one for one in caplog.messages if "cannot be written" in one]) == 1


def test_a_disk_that_is_nearly_full(tmp_path: Path, clock: FakeClock) -> None:
    database = Database(f"sqlite:///{tmp_path / 'windsock.db'}")
    migrate(database)
    free = {tmp_path: MIN_FREE_BYTES}
    checked = WriteCheck(database, Metrics(), clock, free_bytes=free.__getitem__)

    def error() -> str | None:
        asyncio.run(checked.write())
        return checked.result.error

    assert error() is None
    free[tmp_path] -= 1
    assert "the disk is full: 8191 KiB are free" in str(error())
    free[tmp_path] += 1
    assert error() is None
    database.close()


def part(monitor: Served, name: str) -> dict[str, str]:
    found: dict[str, str] = monitor.client.get("/health").json()["parts"][name]
    return found


def test_health_and_readiness_tell_of_it(settings: Settings) -> None:
    with serving(settings) as monitor:
        wait.until(lambda: "written" in part(monitor, "database")["detail"], "the first write")
        ready = monitor.client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "ok")
        assert ready.json()["written_seconds_ago"] < STALE_SECONDS
        services = monitor.app.state.services
        refuse_writes(services.database)
        asyncio.run(services.write_check.write())
        ready = monitor.client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "down")
        assert monitor.client.get("/health").status_code == 503
        told = part(monitor, "database")
        assert told["status"] == "down"
        assert "nothing can be written: attempt to write a readonly database, written" in told["detail"]
        assert str(settings.home) in told["remedy"]
        assert told["remedy"] in monitor.client.get("/").text


def test_asking_writes_nothing(settings: Settings, clock: FakeClock) -> None:
    with serving(settings, clock) as monitor:
        services = monitor.app.state.services
        wait.until(lambda: services.write_check.result.age is not None, "the first write")
        wrote: list[str] = []
        event.listen(services.database.engine, "before_cursor_execute", lambda *call: wrote.append(call[2]))
        for path in ("/health", "/readyz", "/livez", "/metrics"):
            monitor.client.get(path)
        assert [one for one in wrote if "write_checks" in one] == []


def test_check_tells_when_a_running_monitor_last_wrote(settings: Settings, clock: FakeClock) -> None:
    """The clock of the monitor stands still in the past: as if nothing was written since."""
    with serving(settings, clock) as monitor:
        wait.until(lambda: monitor.app.state.services.write_check.result.age is not None, "the first write")
        found = {one.name: one for one in asyncio.run(check(monitor.settings))}
        assert not found["database"].ok
        assert "a monitor runs, and last wrote to it at 2026-11-22 10:00:00 UTC" in found["database"].detail
    found = {one.name: one for one in asyncio.run(check(monitor.settings))}
    assert found["database"].ok


def test_a_delivery_that_was_given_up_is_trouble(settings: Settings) -> None:
    dead = settings.model_copy(update={"smtp_host": "127.0.0.1", "smtp_port": 1, "smtp_security": "none"})
    with serving(dead) as monitor:
        monitor.post([run_event("failed")])
        assert part(monitor, "deliveries")["status"] == "ok"
        services = monitor.app.state.services
        wait.until(lambda: part(monitor, "mail")["status"] == "down", "the first attempt")
        assert part(monitor, "mail")["remedy"]
        now = services.clock()
        services.database.write_now(
            lambda c: c.execute(
                text("UPDATE deliveries SET state = 'dead', settled_at = :now"),
                {"now": f"{now:%Y-%m-%d %H:%M:%S.%f}"},
            )
        )
        told = part(monitor, "deliveries")
        assert (told["status"], "1 were given up" in told["detail"]) == ("down", True)
        assert "Resend" in told["remedy"]
