"""A reconciler at work against a scripted Airflow and a real database."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prometheus_client import CollectorRegistry

from monitor.airflow.client import AirflowApi
from monitor.clock import utc_now
from monitor.concurrency import WakeSignal, end
from monitor.database.engine import Database
from monitor.event_log import read
from monitor.event_log.ingest import Ingest, Wakeups
from monitor.events import from_airflow
from monitor.events.event import Event
from monitor.observability.metrics import Metrics
from monitor.reconciler.loop import Reconciler, Snapshot
from tests.unit.airflow_api_fake import PASSWORD, USERNAME, FakeAirflow
from tests.unit.conftest import NOW
from tests.unit.notify_support import engine_of

INTERVAL = 15.0
STEP = 300  # rows of a listing in one comparison
RETENTION = timedelta(days=90)


def ago(**units: float) -> Any:
    return NOW - timedelta(**units)


@dataclass
class Scene:
    """A reconciler at work, and the log that it fills."""

    reconciler: Reconciler
    ingest: Ingest
    wakes: Wakeups
    metrics: Metrics
    database: Database

    def logged(self) -> list[str]:
        page = self.database.read_now(lambda connection: read.read_after(connection, 0, 20_000))
        return [json.loads(event.body)["id"] for event in page.events]

    def trouble(self) -> str | None:
        return self.reconciler.status.last_error

    def count(self, name: str, **labels: str) -> float:
        registry: CollectorRegistry = self.metrics.registry
        return registry.get_sample_value(name, {"deployment": "local", **labels}) or 0.0


@asynccontextmanager
async def scene(
    fake: FakeAirflow, database: Database, interval: float = INTERVAL, snapshots: Sequence[Snapshot] = ()
) -> AsyncIterator[Scene]:
    wakes, metrics = (
        Wakeups(WakeSignal(), WakeSignal(), {"local": WakeSignal()}, {"local": WakeSignal()}),
        Metrics(),
    )
    ingest = Ingest(database, engine_of().notify_all, wakes, metrics, fake.clock)
    api = AirflowApi("local", fake.url, USERNAME, PASSWORD, 10, fake.clock)
    reconciler = Reconciler(
        *(api, database, ingest, wakes.reconcilers["local"], metrics, fake.clock, interval),
        retention=RETENTION,
        snapshots=snapshots,
        max_rows=STEP,
        run_ended=wakes.run_ended["local"],
    )
    writer = asyncio.create_task(ingest.run())
    try:
        yield Scene(reconciler, ingest, wakes, metrics, database)
    finally:
        writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writer
        await api.close()


def play(
    fake: FakeAirflow, database: Database, act: Callable[[Scene], Awaitable[None]], interval: float = INTERVAL
) -> None:
    async def story() -> None:
        async with scene(fake, database, interval) as on:
            await act(on)

    asyncio.run(story())


async def report(database: Database, events: Sequence[Event]) -> list[str]:
    """Take in what hooks say; answers the ids of what was new."""
    wakes = Wakeups(WakeSignal(), WakeSignal(), {"local": WakeSignal()})
    ingest = Ingest(database, engine_of().notify_all, wakes, Metrics(), utc_now)
    writer = asyncio.create_task(ingest.run())
    try:
        taken = await ingest.take(events)
    finally:
        await end([writer])
    return [event.id for event, new in zip(events, taken, strict=True) if new]


def run_ids(fake: FakeAirflow, *runs: str) -> set[str]:
    """The ids under which these runs stand in the log."""
    built = [from_airflow.run_event("local", row, NOW) for row in fake.runs if row["dag_run_id"] in runs]
    return {event.id for event in built if event}
