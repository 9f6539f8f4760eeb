"""`python -m bench.outbox [--rows 1000,1000000] [--on sqlite,postgresql] [--rows-are settled,waiting]`: what
the outbox's steps take with few rows and with many, in turn, where nearly all are settled, and where nearly
all wait.
"""

import argparse
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Connection, create_engine, text

from monitor.clock import utc_now
from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.database.schema import deliveries, notifications
from monitor.database.statements import BulkInsert, plain
from monitor.notifications.outbox import queries, queue
from monitor.notifications.outbox.records import DeliveryOutcome, State
from monitor.rules.targets import ChannelName
from tests.postgres_server import PostgresServer

ROUNDS = 200
COUNTED_EVERY = 20  # rounds
BATCH = 20_000  # rows in one statement while the table is filled
DUE = 1_000  # that wait where nearly all are settled
LEASE = timedelta(seconds=45)
WAITING = "waiting"

SETTLED = {
    "sqlite": ("ANALYZE",),
    "postgresql": ("VACUUM ANALYZE", "CHECKPOINT"),
}
"""What a table that has just been filled leaves to be done in the background: it is no part of the steps."""

Steps = dict[str, list[float]]


def main() -> None:
    options = _options()
    sizes = [int(size) for size in options.rows.split(",")]
    for kind in options.on.split(","):
        print(f"\n{kind}: milliseconds, the median of {ROUNDS} and their p99")
        for name in options.rows_are.split(","):
            print(f"  nearly all are {name:19}" + "".join(f"{size:>20,}" for size in sizes))
            _print(_measured(kind, sizes, name == WAITING))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.outbox", description=__doc__)
    parser.add_argument("--rows", default="1000,1000000", help="sizes of the outbox (%(default)s)")
    parser.add_argument("--on", default="sqlite,postgresql", help="databases (%(default)s)")
    parser.add_argument("--rows-are", default=f"settled,{WAITING}", help="in turn (%(default)s)")
    return parser.parse_args()


def _print(columns: list[Steps]) -> None:
    for step in columns[0]:
        cells, medians = "", []
        for column in columns:
            taken = sorted(column[step])
            medians.append(statistics.median(taken))
            cells += f"{1e3 * medians[-1]:>12.2f}{1e3 * taken[int(len(taken) * 0.99) - 1]:>8.2f}"
        print(f"    {step:32}{cells}{medians[-1] / medians[0]:>8.2f}")


def _measured(kind: str, sizes: list[int], waiting: bool) -> list[Steps]:
    """By size. In turn, so that what else this machine does meets all of them."""
    now = utc_now()
    with ExitStack() as ends:
        databases = [ends.enter_context(_database(kind)) for _ in sizes]
        for database, size in zip(databases, sizes, strict=True):
            _fill(database, size, now, waiting)
        columns: list[Steps] = [{} for _ in sizes]
        for _ in range(ROUNDS):
            for database, steps in zip(databases, columns, strict=True):
                _round(database, now, steps)
        return columns


def _round(database: Database, now: datetime, taken: Steps) -> None:
    """Each step in a transaction of its own, committed, as a delivery does it."""

    def timed(name: str, function: Callable[[Connection], Any]) -> Any:
        began = time.perf_counter()
        result = database.write_now(function)
        taken.setdefault(name, []).append(time.perf_counter() - began)
        return result

    sent = DeliveryOutcome(State.SENT, "sent", answer="250 OK", remaining=())
    claimed = timed("claim", lambda c: queue.claim(c, now, LEASE, ChannelName.EMAIL))
    timed("hand over", partial(queue.hand_over, delivery=claimed, now=now, subject="subject"))
    timed("settle", partial(queue.settle, delivery=claimed, outcome=sent, now=now))
    timed("look for ended leases", lambda c: queue.reap(c, now))
    timed("when the next is due", lambda c: queue.next_due(c, ChannelName.EMAIL))
    if len(taken["claim"]) % COUNTED_EVERY == 0:
        timed("count what waits (every 15 s)", lambda c: queries.load_stats(c, now))


def _fill(database: Database, size: int, now: datetime, waiting: bool) -> None:
    for start in range(0, size, BATCH):
        numbers = range(start, min(start + BATCH, size))
        rows = [_row(number, size, now, waiting) for number in numbers]
        notifications = [_notification(number, now) for number in numbers]

        def write(connection: Connection, rows: Any = rows, notifications: Any = notifications) -> None:
            _NOTIFICATIONS.rows(connection, notifications)
            _DELIVERIES.rows(connection, rows)

        database.write_now(write)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for settle in SETTLED[connection.dialect.name]:
            connection.execute(text(settle))


def _notification(number: int, now: datetime) -> dict[str, Any]:
    return {
        "id": number + 1,
        "rule": "failures",
        "kind": "opened",
        "template": "run_failed",
        "group_key": f"{number:032x}",
        "deployment": "local",
        "created_at": now,
        "due_at": now,
    }


def _row(number: int, size: int, now: datetime, waiting: bool) -> dict[str, Any]:
    is_due = waiting or number >= size - DUE
    at = now - timedelta(seconds=size - number)
    return {
        "notification_id": number + 1,
        "channel": "email",
        "recipient": "ops@example.com",
        "kind": "opened",
        "event_seq": number,
        "event_id": f"run:{number:032x}",
        "deployment": "local",
        "dag_id": f"dag {number % 500}",
        "run_id": f"run {number}",
        "rule": "failures",
        "template": "run_failed",
        "recipients": ["ops@example.com"],
        "state": State.PENDING.value if is_due else State.SENT.value,
        "reason": "the first failure",
        "message_id": f"<windsock.{number}@example.com>",
        "attempts": 0 if is_due else 1,
        "created_at": at,
        "next_attempt_at": at,
        "settled_at": None if is_due else at,
    }


_EPOCH = datetime(2026, 1, 1, tzinfo=timezone.utc)
_NOTIFICATIONS = BulkInsert(notifications, plain(notifications), list(_notification(0, _EPOCH)))
_DELIVERIES = BulkInsert(deliveries, plain(deliveries), list(_row(0, 1, _EPOCH, waiting=True)))


@contextmanager
def _database(kind: str) -> Iterator[Database]:
    with TemporaryDirectory(prefix="windsock-outbox-") as folder, _url(kind, Path(folder)) as url:
        database = Database(url)
        migrate(database)
        try:
            yield database
        finally:
            database.close()


@contextmanager
def _url(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'windsock.db'}"
        return
    server = PostgresServer().start()
    try:
        name = f"windsock_{uuid.uuid4().hex}"
        admin = create_engine(server.url(), isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        admin.dispose()
        yield server.url(name)
    finally:
        server.stop()


if __name__ == "__main__":
    main()
