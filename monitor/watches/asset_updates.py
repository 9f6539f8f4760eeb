"""The updates of assets in the log, and the DAGs that Airflow schedules on them."""

from collections import deque
from collections.abc import Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection

from monitor.airflow.client import AirflowApi
from monitor.database.engine import Database
from monitor.database.types import read_each
from monitor.errors import AirflowNotFound
from monitor.event_log import cursor, read
from monitor.event_log.filters import Filter
from monitor.event_log.read import EventLogPage
from monitor.events.from_watches import WatchedAsset
from monitor.watches.findings import moment_in
from monitor.watches.thresholds import HISTORY

LISTED_EVERY = timedelta(minutes=10)
"""The listing reads every asset event that Airflow keeps for the last of each asset, and changes with DAG
files only."""
ASKED_EVERY = timedelta(minutes=10)  # about one update and one DAG that waits for another asset
MAX_ASKED = 20  # DAGs that are asked about at one look, with two requests each
MAX_KEPT = 5_000  # answers remembered


class ConsumerState(Enum):
    """The state of an asset's update for one DAG."""

    CONSUMED = "consumed"
    WAITING = "waiting"
    """For another asset."""
    READY = "ready"
    """All is there, and no run is made."""


@dataclass(frozen=True)
class ListedAsset:
    """An asset of Airflow's list, with the DAGs that are scheduled on it."""

    asset_id: int
    dag_ids: tuple[str, ...]


@dataclass
class Consumers:
    """The consumers of one Airflow's asset updates."""

    api: AirflowApi
    _listed: dict[str, ListedAsset] = field(default_factory=dict)
    _listed_at: datetime | None = None
    _answers: dict[tuple[int, str], tuple[datetime, ConsumerState]] = field(default_factory=dict)
    _requests: int = 0

    async def look(self, now: datetime, uris: Collection[str]) -> Mapping[str, ListedAsset]:
        """Return the listed assets by URI. Raises AirflowError."""
        self._requests = 0
        at = self._listed_at
        if at is None or not at <= now < at + LISTED_EVERY:
            self._listed = {}
            async with aclosing(self.api.assets()) as pages:
                async for page in pages:
                    self._listed |= {str(row["uri"]): _read(row) for row in page.rows if row.get("uri")}
            self._listed_at = now
        return {uri: self._listed[uri] for uri in uris if uri in self._listed}

    async def find_state(
        self, now: datetime, asset_event_id: int, asset_id: int, dag_id: str
    ) -> ConsumerState:
        """Return the state of an update for a DAG.
        `WAITING` is returned too if enough was asked at this look. Raises AirflowError."""
        key = (asset_event_id, dag_id)
        at, answer = self._answers.get(key, (now, ConsumerState.WAITING))
        if answer is ConsumerState.CONSUMED or (key in self._answers and at <= now < at + ASKED_EVERY):
            return answer
        if self._requests >= MAX_ASKED:
            return ConsumerState.WAITING
        self._requests += 1
        answer = await self._ask(asset_id, dag_id)
        if len(self._answers) >= MAX_KEPT:
            self._answers.clear()
        self._answers[key] = (now, answer)
        return answer

    async def _ask(self, asset_id: int, dag_id: str) -> ConsumerState:
        asset_ids = await self.api.assets_waiting(dag_id)
        if asset_id not in asset_ids:
            return ConsumerState.CONSUMED
        try:
            condition = await self.api.asset_condition(dag_id)
        except AirflowNotFound:  # the DAG is gone
            return ConsumerState.CONSUMED
        return ConsumerState.READY if condition and is_met(condition, asset_ids) else ConsumerState.WAITING


def is_met(condition: Mapping[str, Any], updated: Collection[int]) -> bool:
    """Return True if updates of these assets fulfil a DAG's condition.
    An alias or reference in the condition counts as waiting, because Airflow shows no id of it."""
    if isinstance(parts := condition.get("all"), list):
        return all(is_met(part, updated) for part in parts)
    if isinstance(parts := condition.get("any"), list):
        return any(is_met(part, updated) for part in parts)
    asset = condition.get("asset")
    return isinstance(asset, dict) and asset.get("id") in updated


def _read(row: dict[str, Any]) -> ListedAsset:
    """Return the asset of a row. Its field is `scheduled_dags`, or `consuming_dags` up to Airflow 3.0."""
    dags = row.get("scheduled_dags", row.get("consuming_dags")) or []
    return ListedAsset(row["id"], tuple(str(dag["dag_id"]) for dag in dags))


UPDATED = "airflow.asset.updated"
LOOK_BACK = 200_000  # events of the log that a start reads for it, in steps
STEP = 5_000  # of them in one transaction


@dataclass(frozen=True)
class Update:
    """An update of an asset."""

    asset: WatchedAsset
    asset_event_id: int
    timestamp: datetime
    began: frozenset[str]
    """The DAGs of the runs that were known to come of it."""

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "Update":
        """Return the update of an event's data."""
        asset = data["asset"]
        return cls(
            WatchedAsset(asset["name"], asset["uri"], asset.get("group")),
            data["asset_event_id"],
            moment_in(data["timestamp"]),
            frozenset(run["dag_id"] for run in data.get("created_dagruns") or ()),
        )


@dataclass
class AssetHistory:
    """The updates of one asset."""

    last: Update
    moments: deque[datetime] = field(default_factory=lambda: deque(maxlen=HISTORY + 1))

    def add(self, update: Update) -> None:
        """Add an update."""
        self.moments.append(update.timestamp)
        if update.timestamp >= self.last.timestamp:
            self.last = update

    @property
    def intervals(self) -> list[timedelta]:
        """The time from each update to the next, the latest first."""
        moments = sorted(self.moments, reverse=True)
        return [later - earlier for later, earlier in pairwise(moments)]


class Updates:
    """The updates of one deployment's assets, by URI."""

    def __init__(self, deployment: str) -> None:
        self._filter = Filter.from_values(type=[UPDATED], deployment=[deployment])
        self._seq: int | None = None
        self.assets: dict[str, AssetHistory] = {}

    async def read_on(self, database: Database) -> None:
        """Take in what the log has got. Raises SQLAlchemyError."""
        if self._seq is None:
            log = await database.read(cursor.state)
            self._seq = max(log.pruned_seq, log.last_seq - LOOK_BACK)
        last = -1
        while self._seq != last:
            last = self._seq
            page = await database.read(partial(self._page, after=last))
            for update in read_each("events", page.events, lambda row: Update.from_data(read.data_of(row))):
                self._take(update)
            self._seq = page.upto

    def _page(self, connection: Connection, after: int) -> EventLogPage:
        return read.read_after(connection, after, STEP, self._filter)

    def _take(self, update: Update) -> None:
        uri = update.asset.uri
        if uri not in self.assets:
            self.assets[uri] = AssetHistory(update)
        self.assets[uri].add(update)
