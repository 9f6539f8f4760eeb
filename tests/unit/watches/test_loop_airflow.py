"""The watches against a real Airflow whose scheduler is killed, and comes back."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor.airflow.client import AirflowApi
from monitor.clock import utc_now
from monitor.concurrency import WakeSignal, end
from monitor.database.engine import Database
from monitor.event_log import read
from monitor.event_log.deployments import ORIGIN
from monitor.event_log.ingest import Ingest, Wakeups
from monitor.event_log.projections import dags as dags_projection
from monitor.observability.metrics import Metrics
from monitor.reconciler import status
from monitor.reconciler.dags import DagSnapshot
from monitor.reconciler.loop import Reconciler
from monitor.reconciler.status import ReconcilerStatus
from monitor.rules.model import Watch
from monitor.watches.loop import WatchedAirflow, Watches
from tests.airflow_server import AirflowServer
from tests.unit.notify_support import engine_of
from tests.unit.watch_support import sqlite

HERE = Path(__file__).parents[1]
SOON = timedelta(seconds=8)  # longer than a scheduler that works takes, and than the log is behind
WATCHES = [
    Watch(name=kind, watch=kind, after=SOON, dag_id=dags)
    for kind, dags in (
        ("missing", ("often",)),
        ("late", ("by_hand",)),
        ("stuck", ("endless",)),
        ("unconsumed", ("eater", "waits_for_both")),
    )
]

pytestmark = pytest.mark.slow


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with sqlite(tmp_path) as database:
        yield database


@pytest.fixture(scope="module")
def airflow() -> Iterator[AirflowServer]:
    with AirflowServer(HERE / "watched" / "dags") as server:
        yield server
        server.kill("scheduler")  # with the task that would not end by itself


@asynccontextmanager
async def watching(airflow: AirflowServer, database: Database) -> AsyncIterator[Watches]:
    """A reconciler at work, and watches that are looked through by hand."""
    wakes, metrics = Wakeups(WakeSignal(), WakeSignal(), {"local": WakeSignal()}), Metrics()
    ingest = Ingest(database, engine_of().notify_all, wakes, metrics, utc_now)
    api = AirflowApi("local", airflow.url, airflow.viewer, airflow.viewer_password, 10, utc_now)
    pauses = DagSnapshot(api, database, ingest, metrics, utc_now)
    pauses.every = timedelta(seconds=2)
    woken = wakes.reconcilers["local"]
    reconciler = Reconciler(api, database, ingest, woken, metrics, utc_now, interval=1, snapshots=[pauses])

    async def known() -> ReconcilerStatus:
        return reconciler.status

    seen = [WatchedAirflow(api, known)]

    async def no_trouble() -> None:
        return None

    watches = Watches(seen, database, ingest, lambda: WATCHES, no_trouble, metrics, utc_now)
    await database.write(lambda c: status.save_watermarks(c, "local", {ORIGIN: utc_now()}, utc_now()))
    tasks = [asyncio.create_task(ingest.run()), asyncio.create_task(reconciler.run())]
    try:
        yield watches
    finally:
        await end(tasks)
        await api.close()


def told(database: Database) -> list[dict[str, Any]]:
    page = database.read_now(lambda connection: read.read_after(connection, 0, 10_000))
    events = [json.loads(row.body) for row in page.events]
    return [event for event in events if event["type"].startswith("windsock.")]


async def looked_until(watches: Watches, database: Database, *wanted: str) -> list[dict[str, Any]]:
    """Looks twice a second until each of these was told, and what was told by then."""

    def are_told() -> bool:
        return {event["type"].removeprefix("windsock.") for event in told(database)} >= set(wanted)

    async def look() -> None:
        while not are_told():
            await watches.look()
            await asyncio.sleep(0.5)

    await asyncio.wait_for(look(), 60)
    return told(database)


def end_runs(airflow: AirflowServer, dag_id: str) -> None:
    """By hand, what the scheduler has left: while a run goes on, the next one waits for its turn."""
    for run in airflow.api("GET", f"/dags/{dag_id}/dagRuns", state=["queued", "running"])["dag_runs"]:
        airflow.api("PATCH", f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}", {"state": "failed"})


def test_a_dead_scheduler_is_noticed_by_what_it_does_not_do(
    airflow: AirflowServer, database: Database
) -> None:
    for dag_id in ("often", "by_hand", "eater", "waits_for_both"):
        airflow.wait_for_dag(dag_id)
    endless = airflow.trigger("endless")
    airflow.wait_for_run("endless", endless, ("running",))

    async def story() -> None:
        async with watching(airflow, database) as watches:
            (stuck,) = await looked_until(watches, database, "run.stuck")
            assert (stuck["data"]["dag_id"], stuck["data"]["run_id"]) == ("endless", endless)
            airflow.kill("scheduler")
            end_runs(airflow, "often")
            by_hand = await asyncio.to_thread(airflow.trigger, "by_hand")
            (asset,) = airflow.api("GET", "/assets", uri_pattern="model.pkl")["assets"]
            airflow.api("POST", "/assets/events", {"asset_id": asset["id"], "extra": {}})
            everything = ("run.missing", "run.late", "asset.unconsumed")
            found = {
                event["type"].removeprefix("windsock."): event["data"]
                for event in await looked_until(watches, database, *everything)
            }
            assert len(told(database)) == len(found) == 4  # each once
            assert (found["run.late"]["dag_id"], found["run.late"]["run_id"]) == ("by_hand", by_hand)
            assert found["run.missing"]["dag_id"] == "often"
            assert found["run.missing"]["schedule"] == "0:00:05"
            assert found["asset.unconsumed"]["dag_id"] == "eater"  # the other waits for the scaler too
            await asyncio.to_thread(airflow.restart, "scheduler")
            *_, over = await looked_until(watches, database, "asset.recovered")
            assert over["data"]["what"] == "eater has a run that file:///models/model.pkl began"

    asyncio.run(story())
    dag = database.read_now(lambda connection: dags_projection.dag(connection, "local", "often"))
    assert dag is not None
    assert (dag["tags"], dag["owners"], dag["schedule"]) == (
        ["nightly", "notify:team"],
        ["anna"],
        "0:00:05",
    )
    assert dag["next_run_after"] is not None
    assert dag["is_stale"] is False
