"""`python -m bench.reconcile [--airflow 3.0.2] [--runs 1000,100000] [--on postgresql,sqlite]`: a poll's cost.

A real api-server on a database with a history, which grows between two measurements. The peer is the poll as
it would be without run_after: all that was updated, whatever its age.
"""

import argparse
import asyncio
import os
import statistics
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import create_engine

from bench.reconcile import seed
from monitor.airflow.client import AirflowApi
from monitor.airflow.paging import ListingPage
from monitor.clock import utc_now
from monitor.reconciler.comparison import OVERLAP
from monitor.reconciler.listings import ANSWERS, LISTINGS, Listing, RateLimiter, Window

ENVIRONMENTS = Path(__file__).resolve().parents[2] / ".windsock" / "env"
INTERVAL = timedelta(seconds=15)  # WINDSOCK_RECONCILE_INTERVAL's default
ROUNDS = 15
WARM_UP = 2  # the first answers of an api-server compile its queries
TIMEOUT = 60.0

Question = Callable[[AirflowApi, Window], AsyncGenerator[ListingPage, None]]
Costs = dict[str, float]

PEERS: dict[str, Question] = {
    "task instances, all": lambda api, window: api.task_instances_updated(window.since, window.until),
    "runs, all": lambda api, window: api.runs_updated(window.since, window.until),
}
RECENT, OLD = LISTINGS[:3], LISTINGS[3:]


def main() -> None:
    options = _options()
    environment = ENVIRONMENTS / f"airflow-{options.airflow}"
    if not environment.exists():
        raise SystemExit(f"--airflow: {environment} is not there; make test-matrix installs every version")
    os.environ["WINDSOCK_TEST_AIRFLOW_ENV"] = str(environment)  # read when tests.airflow_server is imported
    sizes = [int(size) for size in options.runs.split(",")]
    for database in options.on.split(","):
        with _database(database) as url:
            _print(f"Airflow {options.airflow} on {database}", sizes, _measure(url, sizes))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.reconcile", description=__doc__)
    parser.add_argument("--airflow", default="3.3.2", help="the version (%(default)s)")
    parser.add_argument("--runs", default="1000,100000", help="sizes of the history (%(default)s)")
    parser.add_argument("--on", default="postgresql,sqlite", help="Airflow's database (%(default)s)")
    return parser.parse_args()


@contextmanager
def _database(kind: str) -> Iterator[str | None]:
    """The address of an empty PostgreSQL database; None: Airflow's own SQLite file."""
    from tests.postgres_server import PostgresServer

    if kind == "sqlite":
        yield None
        return
    server = PostgresServer().start()
    try:
        yield server.url()
    finally:
        server.stop()


def _measure(postgres_url: str | None, sizes: list[int]) -> list[Costs]:
    """The costs at each size, in seconds."""
    from tests.airflow_server import AirflowServer  # which environment it takes is set above

    with TemporaryDirectory(prefix="windsock-dags-") as dags:
        server = AirflowServer(Path(dags), postgres_url=postgres_url)
        server.commands = {"api-server": server.commands["api-server"]}
        with server:
            engine = create_engine(postgres_url or server.database.url)
            now, costs, before = utc_now(), [], 0
            with engine.begin() as connection:
                seed.prepare(connection, now)
            for size in sizes:
                with engine.begin() as connection:
                    seed.grow(connection, before, size, now)
                before = size
                costs.append(asyncio.run(_ask(server.url, server.viewer, server.viewer_password, now)))
            engine.dispose()
    return costs


async def _ask(url: str, username: str, password: str, newest: datetime) -> Costs:
    """What each question costs: the middle of several answers, all questions asked in turn."""
    api = AirflowApi("bench", url, username, password, TIMEOUT, utc_now)
    questions: dict[str, Question] = {listing.name: listing.pages for listing in LISTINGS} | PEERS
    answers: dict[str, list[float]] = {name: [] for name in questions}
    try:
        for _ in range(WARM_UP + ROUNDS):
            now = utc_now()
            window = Window(newest - OVERLAP - INTERVAL, None, now)
            for name, question in questions.items():
                pages = [page async for page in question(api, window)]
                answers[name].append(sum(page.seconds for page in pages))
    finally:
        await api.close()
    return {name: statistics.median(seconds[WARM_UP:]) for name, seconds in answers.items()}


def _print(title: str, sizes: list[int], costs: list[Costs]) -> None:
    print(f"\n{title}\n{'':34}" + "".join(f"{f'{size:,} runs':>15}" for size in sizes) + f"{'ratio':>9}")
    for listing in RECENT:
        _line(f"  {listing.name}", [cost[listing.name] for cost in costs])
    asset_events = RECENT[2].name
    _line("a poll", [sum(cost[listing.name] for listing in RECENT) for cost in costs])
    _line("a poll without run_after", [cost[asset_events] + sum(cost[p] for p in PEERS) for cost in costs])
    for listing in OLD:
        _line(f"  {listing.name}", [cost[listing.name] for cost in costs])
        print(f"{'    asked every':34}" + "".join(f"{_every(listing, cost):>13.0f} s" for cost in costs))
    print(f"{'share of Airflow, all listings':34}" + "".join(f"{_share(cost):>13.2f} %" for cost in costs))


def _line(name: str, seconds: list[float]) -> None:
    figures = "".join(f"{duration * 1000:>12.1f} ms" for duration in seconds)
    print(f"{name:34}{figures}{seconds[-1] / seconds[0]:>8.1f}x")


def _every(listing: Listing, cost: Costs) -> float:
    """Seconds from one question to the next."""
    pace = RateLimiter(listing.rate_limit)
    for _ in range(ANSWERS):
        pace.took(utc_now(), cost[listing.name])
    return max(INTERVAL, pace.pause).total_seconds()


def _share(cost: Costs) -> float:
    """Percent of the time of one worker of the api-server."""
    return 100 * sum(cost[listing.name] / _every(listing, cost) for listing in LISTINGS)


if __name__ == "__main__":
    main()
