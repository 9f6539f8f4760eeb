"""One look at one Airflow: whether it can be asked, and then each watch over what is seen of it. One that
cannot look holds up none of the others.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from monitor.airflow_api import AirflowApi
from monitor.database import Database
from monitor.errors import WindsockError
from monitor.ingest import Ingest
from monitor.metrics import Metrics
from monitor.reconciler import ReconcilerStatus
from monitor.rules.model import Watch
from monitor.watches import active
from monitor.watches.account import Account
from monitor.watches.choice import Choice
from monitor.watches.components import UNHEALTHY, Components, recovered
from monitor.watches.eyes import Eyes
from monitor.watches.kinds import Kind, kinds
from monitor.watches.sight import Sight
from monitor.watches.trouble import UNREACHABLE, reachable_again, unreachable
from monitor.watches.updates import Updates

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watched:
    """One Airflow, and how its comparison with the log stands."""

    api: AirflowApi
    status: Callable[[], Awaitable[ReconcilerStatus]]


class AirflowLook:
    """Of one Airflow. It remembers what it need not read again."""

    def __init__(self, watched: Watched, database: Database, ingest: Ingest, metrics: Metrics) -> None:
        self.deployment = watched.api.deployment
        self.account = Account(self.deployment, database, ingest, metrics)
        self._watched = watched
        self._database = database
        self._metrics = metrics
        self._eyes = Eyes(self.deployment, database)
        self._updates = Updates(self.deployment)
        self._kinds = kinds(watched.api, database, self._updates)
        self._components = Components(watched.api)
        self._said: dict[str, str] = {}

    async def look(self, watches: Sequence[Watch], now: datetime) -> str:
        """Answers how it went, for the metrics. Raises what the database and the ingest raise."""
        await self.account.load()
        status = await self._watched.status()
        await self._look_whether_it_answers(status, watches, now)
        is_known = status.silent_since is not None or await self._look_at_components(watches, now)
        sight = await self._eyes.look(status, self.account.open, now)
        if sight is None:
            return "no_data"
        await self._updates.read_on(self._database)
        able = await self._able(sight, watches)
        wrong = [not await self._attempt(kind, sight, watches) for kind, sight in able]
        return "ok" if is_known and not any(wrong) and len(able) == len(self._kinds) else "error"

    async def _look_whether_it_answers(
        self, status: ReconcilerStatus, watches: Sequence[Watch], now: datetime
    ) -> None:
        watch = Choice(watches, "unreachable", self.deployment).of_all()
        told = self.account.open.get((UNREACHABLE, self.deployment))
        found = unreachable(status, watch, told, now)
        over = partial(reachable_again, self.deployment, now)
        await self.account.settle("unreachable", UNREACHABLE, found, over, now)

    async def _look_at_components(self, watches: Sequence[Watch], now: datetime) -> bool:
        """Return True if Airflow could say how they are. No answer is none: what was told stands."""
        watch = Choice(watches, "component", self.deployment).of_all()
        try:
            found = await self._components.look(watch, self.account.open, now)
        except WindsockError as error:
            self._failed("component", ["component"], error)
            return False
        self._said.pop("component", None)
        over = partial(recovered, self.deployment, now)
        await self.account.settle("component", UNHEALTHY, found, over, now)
        return True

    async def _able(self, sight: Sight, watches: Sequence[Watch]) -> list[tuple[Kind, Sight]]:
        """The kinds that can look, each with what it sees. Airflow is asked which runs there are where any
        watch wants to know."""
        asking = [kind for kind in self._kinds if kind.asks and Choice(watches, kind.name, self.deployment)]
        if not asking:
            return [(kind, sight) for kind in self._kinds]
        try:
            seen = replace(sight, active=await active.ask(self._watched.api))
        except WindsockError as error:
            self._failed("runs", [kind.name for kind in asking], error)
            return [(kind, sight) for kind in self._kinds if kind not in asking]
        self._said.pop("runs", None)
        return [(kind, seen) for kind in self._kinds]

    async def _attempt(self, kind: Kind, sight: Sight, watches: Sequence[Watch]) -> bool:
        """Whether it could look."""
        choice = Choice(watches, kind.name, self.deployment)
        try:
            found = await kind.look(sight, choice) if choice else ()
            over = partial(kind.over, sight)
            await self.account.settle(kind.name, kind.type, found, over, sight.now)
        except WindsockError as error:
            self._failed(kind.name, [kind.name], error)
        except Exception:  # a mistake in one of them is not to hold up the others
            logger.exception("%s: the watch %s could not look", self.deployment, kind.name)
            self._metrics.watch_errors.labels(self.deployment, kind.name).inc()
        else:
            self._said.pop(kind.name, None)
            return True
        return False

    def _failed(self, part: str, names: Sequence[str], error: WindsockError) -> None:
        """Said once for as long as it is the same, and counted each time."""
        for name in names:
            self._metrics.watch_errors.labels(self.deployment, name).inc()
        if self._said.get(part) != str(error):
            self._said[part] = str(error)
            logger.warning("%s: the watches %s could not look: %s", self.deployment, ", ".join(names), error)
