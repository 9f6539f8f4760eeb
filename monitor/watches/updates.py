"""When assets were updated, from the log, read once and then only onward: the log has no index of assets."""

import json
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection

from monitor import event_log
from monitor.database import Database
from monitor.events.watched_assets import Asset
from monitor.watches.moments import moment_in
from monitor.watches.usual import HISTORY

UPDATED = "airflow.asset.updated"
LOOK_BACK = 200_000  # events of the log that a start reads for it, in steps
STEP = 5_000  # of them in one transaction


@dataclass(frozen=True)
class Update:
    """One update of an asset."""

    asset: Asset
    asset_event_id: int
    timestamp: datetime
    began: frozenset[str]
    """The DAGs of the runs that were known to come of it."""

    @classmethod
    def of(cls, data: dict[str, Any]) -> "Update":
        asset = data["asset"]
        return cls(
            Asset(asset["name"], asset["uri"], asset.get("group")),
            data["asset_event_id"],
            moment_in(data["timestamp"]),
            frozenset(run["dag_id"] for run in data.get("created_dagruns") or ()),
        )


@dataclass
class History:
    """Of one asset."""

    last: Update
    moments: deque[datetime] = field(default_factory=lambda: deque(maxlen=HISTORY + 1))

    def add(self, update: Update) -> None:
        self.moments.append(update.timestamp)
        if update.timestamp >= self.last.timestamp:
            self.last = update

    @property
    def intervals(self) -> list[timedelta]:
        """From each update to the next, the latest first."""
        moments = sorted(self.moments, reverse=True)
        return [later - earlier for later, earlier in pairwise(moments)]


class Updates:
    """Of the assets of one deployment, by URI."""

    def __init__(self, deployment: str) -> None:
        self._filter = event_log.Filter.of(type=[UPDATED], deployment=[deployment])
        self._seq: int | None = None
        self.assets: dict[str, History] = {}

    async def read_on(self, database: Database) -> None:
        """Take in what the log has got. Raises SQLAlchemyError."""
        if self._seq is None:
            log = await database.read(event_log.state)
            self._seq = max(log.pruned_seq, log.last_seq - LOOK_BACK)
        last = -1
        while self._seq != last:
            last = self._seq
            page = await database.read(partial(self._page, after=last))
            for event in page.events:
                self._take(Update.of(json.loads(event.body)["data"]))
            self._seq = page.upto

    def _page(self, connection: Connection, after: int) -> event_log.Page:
        return event_log.read_after(connection, after, STEP, self._filter)

    def _take(self, update: Update) -> None:
        uri = update.asset.uri
        if uri not in self.assets:
            self.assets[uri] = History(update)
        self.assets[uri].add(update)
