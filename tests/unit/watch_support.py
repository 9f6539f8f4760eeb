"""Watches at work on a real database: the reconciler's word, Airflow's answers and the time are given."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from monitor.airflow.client import AirflowApi
from monitor.concurrency import WakeSignal
from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.event_log import read
from monitor.event_log.ingest import Ingest, Wakeups
from monitor.event_log.projections import dags
from monitor.events.data import OWN
from monitor.events.event import Event
from monitor.events.from_airflow import asset_event, run_event
from monitor.notifications.outbox.queries import ChannelOutage
from monitor.observability.metrics import Metrics
from monitor.reconciler.status import ReconcilerStatus
from monitor.rules.model import Watch
from monitor.watches.loop import LOOK_SECONDS, WatchedAirflow, Watches
from tests.unit.airflow_api_fake import PASSWORD, USERNAME, FakeAirflow, moment
from tests.unit.notify_support import engine_of

ALL = tuple(
    Watch(name=kind, watch=kind)
    for kind in ("missing", "late", "stuck", "stale", "unconsumed", "component", "unreachable", "mail")
)
Told = list[dict[str, Any]]
SLOW_LOOK = 240.0  # seconds: less than what counts as a gap
LISTINGS = ("task_instances", "dag_runs", "asset_events")


@dataclass
class Scene:
    """What the watches look at, and what they tell."""

    fake: FakeAirflow
    database: Database
    ingest: Ingest
    metrics: Metrics
    api: AirflowApi
    config: Sequence[Watch]
    silent_since: datetime | None = None
    trouble: ChannelOutage | None = None
    behind: timedelta = timedelta(seconds=10)
    """How far the log is behind Airflow."""
    known: bool = True
    """Whether Airflow has answered since the start."""
    watches: Watches = field(init=False)
    seen: int = 0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin, or begin again as after a restart of the monitor."""
        self.watches = Watches(
            [WatchedAirflow(self.api, self._status)],
            self.database,
            self.ingest,
            lambda: self.config,
            self._trouble,
            self.metrics,
            self.fake.clock,
        )

    async def _status(self) -> ReconcilerStatus:
        now = self.fake.clock()
        mark = (self.silent_since or now) - self.behind
        marks = dict.fromkeys(LISTINGS, mark) if self.known else {}
        error = "no answer from Airflow" if self.silent_since else None
        good = now if self.known and not self.silent_since else None
        return ReconcilerStatus("local", good, error, mark, marks, self.silent_since)

    async def _trouble(self) -> ChannelOutage | None:
        return self.trouble

    async def look(self, after: float = LOOK_SECONDS) -> Told:
        """What a look tells, so many seconds after the one before."""
        self.fake.clock.forward(after)
        await self.watches.look()
        return self.news()

    async def look_for(self, length: timedelta) -> Told:
        """What is told while time goes by, a look a minute; in more than an hour fewer."""
        told: Told = []
        seconds = length.total_seconds()
        every = LOOK_SECONDS if seconds <= 3600 else SLOW_LOOK
        while seconds > 0:
            told += await self.look(min(every, seconds))
            seconds -= every
        return told

    def news(self) -> Told:
        page = self.database.read_now(lambda c: read.read_after(c, self.seen, 10_000))
        self.seen = page.upto
        told = [json.loads(one.body) for one in page.events]
        return [one for one in told if one["type"].startswith(OWN)]

    async def take(self, *events: Event | None) -> None:
        """What hooks and the reconciler tell meanwhile."""
        await self.ingest.take([event for event in events if event])

    def know(self, dag_id: str, next_run: datetime | None = None, **more: Any) -> None:
        """What Airflow's list says of a DAG from now on."""
        row: dict[str, Any] = {"tags": [], "owners": [], "schedule": "0 * * * *", "next_run_after": next_run}
        row |= {"is_stale": False, "is_partitioned": False, "seen_at": None}

        def keep(connection: Any) -> None:
            old = dags.dag(connection, "local", dag_id)
            if old is None:
                dags.see_dags(connection, "local", {dag_id: row | {"is_paused": False} | more})
            else:
                kept = {name: old[name] for name in row} | {"next_run_after": next_run}
                dags.update_dags(connection, "local", {dag_id: kept | more})

        self.database.write_now(keep)

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, {"deployment": "local", **labels}) or 0.0


@contextmanager
def sqlite(folder: Path) -> Iterator[Database]:
    """A migrated database in this folder."""
    database = Database(f"sqlite:///{folder / 'windsock.db'}")
    migrate(database)
    yield database
    database.close()


@asynccontextmanager
async def scene(fake: FakeAirflow, database: Database, config: Sequence[Watch] = ALL) -> AsyncIterator[Scene]:
    metrics = Metrics()
    wakes = Wakeups(WakeSignal(), WakeSignal(), {"local": WakeSignal()})
    ingest = Ingest(database, engine_of().notify_all, wakes, metrics, fake.clock)
    api = AirflowApi("local", fake.url, USERNAME, PASSWORD, 10, fake.clock)
    writer = asyncio.create_task(ingest.run())
    try:
        yield Scene(fake, database, ingest, metrics, api, config)
    finally:
        writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writer
        await api.close()


def play(
    fake: FakeAirflow,
    database: Database,
    act: Callable[[Scene], Awaitable[None]],
    config: Sequence[Watch] = ALL,
) -> None:
    async def story() -> None:
        async with scene(fake, database, config) as on:
            await act(on)

    asyncio.run(story())


def run(
    dag_id: str,
    state: str,
    due: datetime,
    began: datetime | None = None,
    took: timedelta | None = None,
    run_type: str = "scheduled",
) -> dict[str, Any]:
    """A run as Airflow lists it."""
    return {
        "dag_run_id": f"{run_type}__{due:%Y-%m-%dT%H:%M:%S}",
        "dag_id": dag_id,
        "state": state,
        "run_type": run_type,
        "run_after": moment(due),
        "queued_at": moment(due),
        "start_date": moment(began) if began else None,
        "end_date": moment(began + took) if began and took is not None else None,
    }


def told_run(row: dict[str, Any], now: datetime) -> Event:
    event = run_event("local", row, now)
    assert event is not None
    return event


def told_update(
    number: int,
    at: datetime,
    uri: str = "file:///model.pkl",
    dag_id: str = "train",
    created: Sequence[str] = (),
) -> Event:
    """An asset's update, as the reconciler tells it."""
    row = {
        "id": number,
        "uri": uri,
        "name": uri.rpartition("/")[2],
        "group": "asset",
        "extra": {},
        "source_dag_id": dag_id,
        "source_run_id": "manual__1",
        "source_task_id": "save",
        "source_map_index": -1,
        "created_dagruns": [{"dag_id": one, "run_id": "asset__1"} for one in created],
        "timestamp": moment(at),
    }
    event = asset_event("local", row, at)
    assert event is not None
    return event


def kinds(told: Told) -> list[str]:
    return [one["type"].removeprefix("windsock.") for one in told]
