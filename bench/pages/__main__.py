"""`python -m bench.pages [--events 10000,1000000] [--on sqlite,postgresql]`: the time of pages, lists and
replay with few events in the log and with many, over HTTP from a monitor of its own; milliseconds, medians.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import httpx

from bench.pages.fill import ASSET, EVENTS_A_RUN, dag_of, fill, run_of
from monitor.clock import utc_now
from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.event_log import cursor
from monitor.event_log.cursor import LogState
from tests.monitor_process import MonitorProcess
from tests.postgres_server import PostgresServer

ROUNDS = 15
REPLAYED = 1_000  # events
FEW = 10  # events of one DAG

Times = dict[str, float]
Question = tuple[str, Callable[[], None]]


def main() -> None:
    options = _options()
    sizes = [int(size) for size in options.events.split(",")]
    for kind in options.on.split(","):
        columns = _measured(kind, sizes)
        print(f"\n{kind}, ms{'':38}" + "".join(f"{size:>14,}" for size in sizes) + f"{'ratio':>10}")
        for name in columns[0]:
            cells = [column[name] for column in columns]
            print(f"{name:46}" + "".join(f"{cell:14.1f}" for cell in cells) + f"{cells[-1] / cells[0]:10.2f}")


def _measured(kind: str, sizes: list[int]) -> list[Times]:
    """By size. In turn, so that what else this machine does meets all of them."""
    with ExitStack() as ends:
        requests = [dict(ends.enter_context(_monitor(kind, size))) for size in sizes]
        return [
            dict(zip(requests[0], times, strict=True))
            for times in zip(*(_medians(name, requests) for name in requests[0]), strict=True)
        ]


@contextmanager
def _monitor(kind: str, size: int) -> Iterator[Iterator[Question]]:
    with TemporaryDirectory() as folder, _database(kind, Path(folder)) as url:
        database = Database(url)
        migrate(database)
        began = time.monotonic()
        database.write_now(lambda connection: fill(connection, size, utc_now()))
        state = database.read_now(cursor.state)
        _settled(database)
        database.close()
        print(f"{kind}: {size:,} events written in {time.monotonic() - began:.0f} s", flush=True)
        monitor = MonitorProcess(Path(folder), {"WINDSOCK_DATABASE_URL": url}).start()
        try:
            with httpx.Client(base_url=monitor.url, timeout=120, trust_env=False) as client:
                yield _questions(client, state, size)
        finally:
            monitor.stop()


def _settled(database: Database) -> None:
    """What PostgreSQL does in the background of a log that grows: it is no part of the questions."""
    if database.engine.dialect.name == "postgresql":
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for work in ("VACUUM ANALYZE", "CHECKPOINT"):
                connection.exec_driver_sql(work)


@contextmanager
def _database(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'log.db'}"
        return
    server = PostgresServer().start()
    try:
        yield server.url()
    finally:
        server.stop()


def _questions(client: httpx.Client, state: LogState, size: int) -> Iterator[Question]:
    run = (size // EVENTS_A_RUN) - 3
    address = f"/runs/local/{dag_of(run, size // EVENTS_A_RUN)}/{run_of(run)}"
    for name, path in {
        "first page": "/",
        "runs": "/runs",
        "runs that failed": "/runs?state=failed",
        "runs of a DAG": f"/runs?dag_id={dag_of(run, size // EVENTS_A_RUN)}",
        "a run": address,
        "events": "/events/list",
        "events of a rare type": "/events/list?type=airflow.dag.import_error",
        "events of a type, by a glob": "/events/list?type=airflow.dag_run.*",
        "events of DAGs, by a glob": "/events/list?dag_id=dag_*",
        "events of few DAGs, by a glob": "/events/list?dag_id=dag_1?",
        "events of a DAG that has none": "/events/list?dag_id=nothing",
        "assets": "/assets",
        "an asset": f"/assets/local?uri={quote(ASSET, safe='')}",
        "incidents": "/incidents",
        "deliveries": "/mail",
        "API: runs": "/api/v1/runs",
        "API: events of a DAG": f"/api/v1/events?dag_id={dag_of(run, size // EVENTS_A_RUN)}",
    }.items():
        yield name, lambda path=path: _get(client, path)  # type: ignore[misc]
    late = f"{state.epoch}-{state.last_seq - REPLAYED - REPLAYED // 10}"
    yield f"replay of {REPLAYED:,} events", lambda: _replay(client, f"after={late}", REPLAYED)
    of_dag = f"after={state.epoch}-0&dag_id={dag_of(run, size // EVENTS_A_RUN)}"
    yield f"replay of the first {FEW} of a DAG", lambda: _replay(client, of_dag, FEW)


def _get(client: httpx.Client, path: str) -> None:
    answer = client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 200, (path, answer.status_code)


def _replay(client: httpx.Client, query: str, number: int) -> None:
    seen = 0
    with client.stream("GET", f"/events?{query}") as answer:
        for chunk in answer.iter_bytes():
            seen += chunk.count(b"\ndata: ")
            if seen >= number:
                return
    raise AssertionError(f"the feed ended after {seen} events")


def _medians(name: str, requests: list[dict[str, Callable[[], None]]]) -> list[float]:
    taken: list[list[float]] = [[] for _ in requests]
    for number in range(1 + ROUNDS):
        for times, questions in zip(taken, requests, strict=True):
            began = time.perf_counter()
            questions[name]()
            if number:  # what is read for the first time is the disk's time
                times.append(time.perf_counter() - began)
    return [1e3 * statistics.median(times) for times in taken]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=__doc__)
    parser.add_argument("--events", default="10000,1000000", help="sizes of the log (%(default)s)")
    parser.add_argument("--on", default="sqlite,postgresql", help="databases (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
