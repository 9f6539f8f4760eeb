"""`python -m bench.ingest [--events 20000] [--rounds 5] [--on sqlite,postgresql]`: events per second that
ingest makes durable, in batches of 1 and of 100, beside a bare executemany loop that writes the same rows to
the same tables; the same from JSON, so with parsing; and the whole way, by signed requests to a monitor of
its own.
"""

import argparse
import asyncio
import contextlib
import gc
import itertools
import json
import statistics
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from sqlalchemy import create_engine, text
from standardwebhooks import Webhook

from bench.ingest import peers
from bench.ingest.peers import Recorder, Rows, count
from bench.ingest.stream import Raw, Stream
from monitor.clock import utc_now
from monitor.concurrency import WakeSignal, end
from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.delivery.messages.renderer import choose
from monitor.event_log.deployments import origin_of
from monitor.event_log.ingest import Ingest, Wakeups
from monitor.events.event import Event, parse_event
from monitor.notifications.decision import NotificationWindow
from monitor.notifications.engine import Engine
from monitor.observability.metrics import Metrics
from monitor.rules.loader import default_config
from monitor.rules.ruleset import Rules
from tests.monitor_process import MonitorProcess
from tests.postgres_server import PostgresServer

TO = "ops@example.com"
BATCHES = (1, 100)
FEWER = 10  # as many fewer events one by one: each of them waits for the disk
FAILED_RUNS = 1_000
USUAL = 0.05  # of runs fail
YESTERDAY = timedelta(days=1)

Batch = list[Event]


@dataclass(frozen=True)
class Told:
    name: str
    raws: list[Raw]

    def batches(self, size: int) -> list[list[Raw]]:
        some = self.raws[: len(self.raws) if size > 1 else max(1, len(self.raws) // FEWER)]
        return [some[start : start + size] for start in range(0, len(some), size)]


def main() -> None:
    options = _options()
    for kind in options.on.split(","):
        with _server(kind) as new_url:
            print(f"{kind}: events/s, medians of {options.rounds} alternating rounds")
            print(f"  {'':24}{'batch':>6}{'rows/event':>12}{'from JSON':>11}{'ingest':>9}", end="")
            print(f"{'bare loop':>11}{'ratio':>7}")
            for stream, size in itertools.product(_told(options.events), BATCHES):
                _compare(kind, new_url, stream, size, options.rounds)
            print()
    print("by signed requests to `windsock serve` on SQLite, one connection: events/s")
    for stream, size in itertools.product(_told(options.events), BATCHES):
        number, seconds = _requested(stream, size)
        print(f"  {stream.name:24}{size:>6}{'':12}{number / seconds:>11,.0f}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.ingest", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000, help="in batches of 100 (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of each (%(default)s)")
    parser.add_argument("--on", default="sqlite,postgresql", help="databases (%(default)s)")
    return parser.parse_args()


def _told(number: int) -> list[Told]:
    return [
        Told(f"{USUAL:.0%} of the runs fail", Stream(_start(), USUAL).events(number)),
        Told("every run fails", Stream(_start(), 1.0).events(number // 4)),
        Told("failed runs alone", Stream(_start(), 1.0).failed_runs(FAILED_RUNS)),
    ]


def _start() -> datetime:
    return utc_now() - timedelta(hours=1)


def _compare(kind: str, new_url: Callable[[], str], stream: Told, size: int, rounds: int) -> None:
    bodies = [json.dumps(some).encode() for some in stream.batches(size)]
    batches = [_parsed(body) for body in bodies]
    written = _recorded(batches)
    number = sum(len(batch) for batch in batches)
    peer = peers.PEERS[kind]
    whole, ours, bare_times = [], [], []
    for _ in range(rounds):
        whole.append(_timed(new_url(), partial(_taken, map(_parsed, bodies))))
        ours.append(_timed(new_url(), partial(_taken, batches)))
        url = new_url()
        bare_times.append(_timed(url, partial(_written, peer, url, written)))
    rate, bare = number / statistics.median(ours), number / statistics.median(bare_times)
    rows, parsed = count(written) / number, number / statistics.median(whole)
    print(f"  {stream.name:24}{size:>6}{rows:>12.2f}{parsed:>11,.0f}{rate:>9,.0f}", end="")
    print(f"{bare:>11,.0f}{rate / bare:>7.2f}", flush=True)


def _parsed(body: bytes) -> Batch:
    return [parse_event(raw) for raw in json.loads(body)]


def _timed(url: str, function: Callable[[Database], None]) -> float:
    """Seconds, on a database that is fresh but for its schema."""
    database = Database(url)
    migrate(database)
    database.write_now(lambda connection: origin_of(connection, "local", utc_now() - YESTERDAY))
    gc.collect()
    try:
        began = time.perf_counter()
        function(database)
        return time.perf_counter() - began
    finally:
        database.close()


def _written(peer: peers.Peer, url: str, written: peers.Batches, _database: Database) -> None:
    peer(url, written)


def _taken(batches: Iterable[Batch], database: Database) -> None:
    asyncio.run(_take(database, batches, lambda: None))


def _recorded(batches: Sequence[Batch]) -> list[list[Rows]]:
    """What each batch writes, batch by batch."""
    written: list[list[Rows]] = []
    with TemporaryDirectory(prefix="windsock-ingest-") as folder:
        database = Database(f"sqlite:///{Path(folder) / 'windsock.db'}")
        migrate(database)
        database.write_now(lambda connection: origin_of(connection, "local", utc_now() - YESTERDAY))
        recorder = Recorder(database)
        asyncio.run(_take(database, batches, lambda: written.append(recorder.batch())))
        database.close()
    return written


async def _take(database: Database, batches: Iterable[Batch], after_each: Callable[[], None]) -> None:
    rules = Rules(default_config((TO,), ()))
    metrics = Metrics()
    engine = Engine(lambda: rules, NotificationWindow(YESTERDAY), choose, "example.com", metrics)
    ingest = Ingest(database, engine.notify_all, Wakeups(WakeSignal(), WakeSignal(), {}), metrics, utc_now)
    writer = asyncio.create_task(ingest.run())
    for batch in batches:
        assert all(await ingest.take(batch))
        after_each()
    await end([writer])


def _requested(stream: Told, size: int) -> tuple[int, float]:
    """How many events, and seconds until the last was answered for."""
    batches = stream.batches(size)
    with TemporaryDirectory(prefix="windsock-ingest-") as folder:
        monitor = MonitorProcess(Path(folder), {"NOTIFICATION_EMAIL_TO": TO}).start()
        _set_origin(f"sqlite:///{folder}/windsock/windsock.db")
        posts = [_signed(monitor.secret, json.dumps(batch)) for batch in batches]
        try:
            with httpx.Client(base_url=monitor.url, trust_env=False, timeout=60) as client:
                began = time.perf_counter()
                for post in posts:
                    client.post("/api/v1/events", **post).raise_for_status()
                seconds = time.perf_counter() - began
                told_of = client.get("/api/v1/deliveries").json()["deliveries"]
                fails = any(raw["type"] == "airflow.dag_run.failed" for batch in batches for raw in batch)
                assert bool(told_of) == fails, "nobody is told of failures"
                return sum(len(batch) for batch in batches), seconds
        finally:
            monitor.stop()


def _set_origin(url: str) -> None:
    """What is older than a deployment's first sight is told to nobody: it was seen first a day ago."""
    database = Database(url)
    first = database.write_now(lambda connection: origin_of(connection, "local", utc_now() - YESTERDAY))
    database.close()
    assert first < _start(), f"the monitor has looked itself, at {first}"


def _signed(secret: str, body: str) -> dict[str, Any]:
    now, message = utc_now(), f"msg_{uuid.uuid4().hex}"
    headers = {
        "Content-Type": "application/cloudevents-batch+json",
        "webhook-id": message,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message, now, body),
    }
    return {"content": body, "headers": headers}


@contextlib.contextmanager
def _server(kind: str) -> Iterator[Callable[[], str]]:
    """Makes addresses of databases that are new."""
    with TemporaryDirectory(prefix="windsock-ingest-") as folder:
        if kind == "sqlite":
            yield lambda: f"sqlite:///{Path(folder) / uuid.uuid4().hex}.db"
            return
        server = PostgresServer().start()
        try:
            yield partial(_new_database, server)
        finally:
            server.stop()


def _new_database(server: PostgresServer) -> str:
    name = f"windsock_{uuid.uuid4().hex}"
    admin = create_engine(server.url(), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    return server.url(name)


if __name__ == "__main__":
    main()
