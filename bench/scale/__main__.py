"""`python -m bench.scale [--monitors 1,2,4] [--rounds 2]`: events and deliveries a second with one monitor
and with several on one PostgreSQL (fsync on), in turn; what holds them up; what an event costs on the disk.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import func, select, text

from bench.ingest.stream import Raw, Stream
from bench.scale.load import Readers, Signed, sent, signed
from bench.scale.strain import Strain, watched
from monitor.clock import utc_now
from monitor.database.schema import deliveries
from monitor.notifications.outbox.records import State
from tests.every_end import every_end
from tests.ports import free_port
from tests.postgres_server import PostgresServer
from tests.scale.fleet import Fleet

EVENTS = 6_000  # in batches of 100
ONE_BY_ONE = 600
FED = 2_000  # events to each reader
READERS = 50
MAILS = 300
USUAL = 0.05  # of runs fail
HOUR = timedelta(hours=1)
PATIENCE_SECONDS = 120.0
TABLES = """SELECT sum(pg_total_relation_size(oid)) FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"""
WAL = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
INGEST, SINGLES, FEEDS, MAILED = (
    "events/s, batches of 100",
    "events/s, one by one",
    "feeds, events x readers /s",
    "mails/s",
)

Figures = dict[str, float]


def main() -> None:
    options = _options()
    numbers = [int(number) for number in options.monitors.split(",")]
    figures: dict[tuple[str, int], list[float]] = defaultdict(list)
    strains: dict[tuple[str, int], Strain] = {}
    server = PostgresServer(durable=True).start()
    try:
        for _ in range(options.rounds):
            for number in numbers:
                for name, figure, strain in (*_events(server, number), _mails(server, number)):
                    print(f"{number} monitors: {name}: {figure:,.0f}", flush=True)
                    figures[name, number].append(figure)
                    strains[name, number] = strain
    finally:
        server.stop()
    _print(numbers, figures, strains)


def _print(
    numbers: list[int], figures: dict[tuple[str, int], list[float]], strains: dict[tuple[str, int], Strain]
) -> None:
    names = list(dict.fromkeys(name for name, _ in figures))
    print(f"{'monitors':32}" + "".join(f"{number:>12}{'ratio':>8}" for number in numbers))
    for name in names:
        medians = [statistics.median(figures[name, number]) for number in numbers]
        print(f"{name:32}" + "".join(f"{median:>12,.0f}{median / medians[0]:>8.2f}" for median in medians))
    for name in names:
        for number in numbers:
            print(f"{name}, {number}: {strains[name, number]}")


def _events(server: PostgresServer, number: int) -> Iterator[tuple[str, float, Strain]]:
    stream = Stream(utc_now() - HOUR, USUAL)
    with _fleet(server, number, {}) as fleet:
        many, single, fed = (stream.events(some) for some in (EVENTS, ONE_BY_ONE, FED))
        before = _disk(fleet)
        yield INGEST, *_ingested(fleet, signed(many, 100, fleet.secret), len(many))
        tables, wal = (after - was for after, was in zip(_disk(fleet), before, strict=True))
        print(
            f"{number} monitors: {tables / EVENTS:,.0f} bytes of tables and indexes an event, "
            f"{wal / EVENTS:,.0f} of WAL; {EVENTS / _task_instances(many):.2f} events a task instance",
            flush=True,
        )
        yield SINGLES, *_ingested(fleet, signed(single, 1, fleet.secret), len(single))
        yield FEEDS, *_fed(fleet, signed(fed, 100, fleet.secret))


def _task_instances(raws: Sequence[Raw]) -> int:
    return len({(raw["data"]["run_id"], raw["data"]["task_id"]) for raw in raws if "ti_id" in raw["data"]})


def _ingested(fleet: Fleet, requests: Sequence[Signed], number: int) -> tuple[float, Strain]:
    with _watched(fleet) as strain:
        seconds = sent(fleet.monitors, requests)
    return number / seconds, strain


def _fed(fleet: Fleet, requests: Sequence[Signed]) -> tuple[float, Strain]:
    before = fleet.log_state().last_seq
    with Readers(fleet.monitors, READERS) as readers, _watched(fleet) as strain:
        began = time.perf_counter()
        sent(fleet.monitors, requests)
        # Not always all that were sent: of a try that was given up, what comes late is not logged.
        number = fleet.log_state().last_seq - before
        readers.until(number)
        seconds = time.perf_counter() - began
    return number * READERS / seconds, strain


def _mails(server: PostgresServer, number: int) -> tuple[str, float, Strain]:
    port = free_port()
    with TemporaryDirectory() as folder, _sink(port):
        smtp = {
            "WINDSOCK_SMTP_HOST": "127.0.0.1",
            "WINDSOCK_SMTP_PORT": str(port),
            "WINDSOCK_SMTP_SECURITY": "none",
        }
        with _fleet(server, number, smtp | every_end(Path(folder), ["ops@example.com"], "none")) as fleet:
            ends: list[Raw] = Stream(utc_now(), 1.0).failed_runs(MAILS)
            with _watched(fleet) as strain:
                began = time.perf_counter()
                sent(fleet.monitors, signed(ends, 100, fleet.secret))
                _until_sent(fleet)
                seconds = time.perf_counter() - began
    return MAILED, MAILS / seconds, strain


def _until_sent(fleet: Fleet) -> None:
    query = select(func.count()).where(deliveries.c.state == State.SENT.value)
    end = time.monotonic() + PATIENCE_SECONDS
    with fleet.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while (sent_now := connection.execute(query).scalar_one()) < MAILS:
            assert time.monotonic() < end, f"{sent_now} of {MAILS} mails in {PATIENCE_SECONDS} s"
            time.sleep(0.01)


@contextmanager
def _fleet(server: PostgresServer, number: int, env: dict[str, str]) -> Iterator[Fleet]:
    with (
        TemporaryDirectory(prefix="windsock-scale-") as folder,
        Fleet(Path(folder), number, env, server) as fleet,
    ):
        yield fleet


@contextmanager
def _sink(port: int) -> Iterator[None]:
    command = [sys.executable, "-m", "bench.mail.sink", str(port), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as sink:
        assert sink.stdout
        sink.stdout.readline()
        try:
            yield
        finally:
            sink.kill()


@contextmanager
def _watched(fleet: Fleet) -> Iterator[Strain]:
    pids = {"monitors": [monitor.process_id for monitor in fleet.monitors]}
    with watched(fleet.engine, pids, fleet.postgres.process_id) as strain:
        yield strain


def _disk(fleet: Fleet) -> tuple[int, int]:
    """Bytes of tables with their indexes, and of WAL that was ever written."""
    with fleet.engine.connect() as connection:
        tables, wal = (int(connection.execute(text(query)).scalar_one()) for query in (TABLES, WAL))
        return tables, wal


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--monitors", default="1,2,4", help="how many (%(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="of each; medians are told (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
