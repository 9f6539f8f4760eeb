"""The loop of the watches, which looks at each Airflow and at the mail server every minute.

`AirflowLook` first checks that Airflow answers, and then lets each watch look at the observation. A watch
that fails holds up none of the others.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from monitor.airflow.client import AirflowApi
from monitor.clock import Clock
from monitor.database.engine import Database
from monitor.database.statements import Row
from monitor.errors import WindsockError
from monitor.event_log import cursor
from monitor.event_log.deployments import origin_of
from monitor.event_log.ingest import Ingest
from monitor.event_log.projections import dags as dags_projection
from monitor.event_log.projections import runs
from monitor.observability.metrics import Metrics
from monitor.reconciler.status import ReconcilerStatus
from monitor.rules.model import Watch
from monitor.watches import observation
from monitor.watches.asset_updates import Updates
from monitor.watches.assets import BY_ASSET
from monitor.watches.dependencies import (
    FAILING,
    MAIL_SUBJECT,
    UNHEALTHY,
    UNREACHABLE,
    Components,
    MailTrouble,
    build_recovered_event,
    mail_failing,
    mail_works_again,
    reachable_again,
    unreachable,
)
from monitor.watches.findings import FindingTracker, Key, OpenFinding
from monitor.watches.observation import Observation, ObservationWindow, find_active_runs
from monitor.watches.registry import WatchKind, build_watch_kinds
from monitor.watches.runs import BY_SCHEDULE
from monitor.watches.thresholds import WatchSelector

RUNS = "dag_runs"
"""The reconciler's listing that says up to when runs are known."""
RUN_TYPES = (*BY_SCHEDULE, BY_ASSET)


@dataclass(frozen=True)
class _Rows:
    dags: dict[str, Row]
    assets: dict[str, Row]
    run_starts: list[tuple[str, str, datetime]]
    last_seq: int


class ObservationReader:
    """The reader of one deployment's observations. The starts of runs are read once, and then only onward."""

    def __init__(self, deployment: str, database: Database) -> None:
        self._deployment = deployment
        self._database = database
        self._window: ObservationWindow | None = None
        self._is_loaded = False
        self._run_starts: dict[tuple[str, str], datetime] = {}
        self._seq = 0

    async def look(
        self, status: ReconcilerStatus, open_: dict[Key, OpenFinding], now: datetime
    ) -> Observation | None:
        """Return the observation, or None if the present is unknown.
        Then Airflow does not answer, or the log is behind. `open_` is not copied, so findings that are
        settled meanwhile show. Raises SQLAlchemyError."""
        mark = status.marks.get(RUNS)
        window = await self._attend(mark, now)
        if window is None or mark is None:
            return None
        origin = await self._database.write(lambda connection: origin_of(connection, self._deployment, now))
        rows = await self._database.read(self._rows)
        self._seq = rows.last_seq
        for dag_id, run_type, moment in rows.run_starts:
            last = self._run_starts.get((dag_id, run_type), moment)
            self._run_starts[dag_id, run_type] = max(last, moment)
        return Observation(
            self._deployment,
            now=now,
            origin=origin,
            since=window.since,
            upto=mark,
            dags=rows.dags,
            assets=rows.assets,
            run_starts=self._run_starts,
            open=open_,
        )

    async def _attend(self, mark: datetime | None, now: datetime) -> ObservationWindow | None:
        deployment = self._deployment
        if not self._is_loaded:
            self._window = await self._database.read(lambda c: observation.load(c, deployment))
            self._is_loaded = True
        looked = observation.extend_window(self._window, mark, now)
        if looked is not None:
            await self._database.write(lambda c: observation.save(c, deployment, looked))
            self._window = looked
        return looked

    def _rows(self, connection: Connection) -> _Rows:
        last_seq = cursor.state(connection).last_seq
        return _Rows(
            dags_projection.load_dags(connection, self._deployment),
            runs.find_updated_assets(connection, self._deployment),
            runs.find_last_run_starts(connection, self._deployment, self._seq, RUN_TYPES),
            last_seq,
        )


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WatchedAirflow:
    """An Airflow and the status of its comparison with the log."""

    api: AirflowApi
    status: Callable[[], Awaitable[ReconcilerStatus]]


class AirflowLook:
    """The look of all watches at one Airflow. It remembers what it need not read again."""

    def __init__(self, watched: WatchedAirflow, database: Database, ingest: Ingest, metrics: Metrics) -> None:
        self.deployment = watched.api.deployment
        self.account = FindingTracker(self.deployment, database, ingest, metrics)
        self._watched = watched
        self._database = database
        self._metrics = metrics
        self._reader = ObservationReader(self.deployment, database)
        self._updates = Updates(self.deployment)
        self._kinds = build_watch_kinds(watched.api, database, self._updates)
        self._components = Components(watched.api)
        self._messages: dict[str, str] = {}

    async def look(self, watches: Sequence[Watch], now: datetime) -> str:
        """Look once and return the result for the metrics.
        Raises the errors of the database and of the ingest."""
        await self.account.load()
        status = await self._watched.status()
        await self._look_whether_it_answers(status, watches, now)
        is_readable = status.silent_since is not None or await self._look_at_components(watches, now)
        observation = await self._reader.look(status, self.account.open, now)
        if observation is None:
            return "no_data"
        await self._updates.read_on(self._database)
        able = await self._able(observation, watches)
        wrong = [not await self._attempt(kind, kind_view, watches) for kind, kind_view in able]
        return "ok" if is_readable and not any(wrong) and len(able) == len(self._kinds) else "error"

    async def _look_whether_it_answers(
        self, status: ReconcilerStatus, watches: Sequence[Watch], now: datetime
    ) -> None:
        watch = WatchSelector(watches, "unreachable", self.deployment).find_global()
        finding = self.account.open.get((UNREACHABLE, self.deployment))
        found = unreachable(status, watch, finding, now)
        over = partial(reachable_again, self.deployment, now)
        await self.account.settle("unreachable", UNREACHABLE, found, over, now)

    async def _look_at_components(self, watches: Sequence[Watch], now: datetime) -> bool:
        """Return True if Airflow reported its components' state. Without an answer, open findings stand."""
        watch = WatchSelector(watches, "component", self.deployment).find_global()
        try:
            found = await self._components.look(watch, self.account.open, now)
        except WindsockError as error:
            self._report_failure("component", ["component"], error)
            return False
        self._messages.pop("component", None)
        over = partial(build_recovered_event, self.deployment, now)
        await self.account.settle("component", UNHEALTHY, found, over, now)
        return True

    async def _able(
        self, observation: Observation, watches: Sequence[Watch]
    ) -> list[tuple[WatchKind, Observation]]:
        """Return the kinds that can look, each with its observation.
        Airflow is asked for its active runs if any watch needs them."""
        asking = [
            kind for kind in self._kinds if kind.asks and WatchSelector(watches, kind.name, self.deployment)
        ]
        if not asking:
            return [(kind, observation) for kind in self._kinds]
        try:
            seen = replace(observation, active=await find_active_runs(self._watched.api))
        except WindsockError as error:
            self._report_failure("runs", [kind.name for kind in asking], error)
            return [(kind, observation) for kind in self._kinds if kind not in asking]
        self._messages.pop("runs", None)
        return [(kind, seen) for kind in self._kinds]

    async def _attempt(self, kind: WatchKind, observation: Observation, watches: Sequence[Watch]) -> bool:
        """Return True if this kind could look."""
        choice = WatchSelector(watches, kind.name, self.deployment)
        try:
            found = await kind.look(observation, choice) if choice else ()
            over = partial(kind.over, observation)
            await self.account.settle(kind.name, kind.type, found, over, observation.now)
        except WindsockError as error:
            self._report_failure(kind.name, [kind.name], error)
        except Exception:  # a mistake in one of them is not to hold up the others
            logger.exception("%s: the watch %s could not look", self.deployment, kind.name)
            self._metrics.watch_errors.labels(self.deployment, kind.name).inc()
        else:
            self._messages.pop(kind.name, None)
            return True
        return False

    def _report_failure(self, part: str, names: Sequence[str], error: WindsockError) -> None:
        """Count a failure each time, and log it once for as long as it is the same."""
        for name in names:
            self._metrics.watch_errors.labels(self.deployment, name).inc()
        if self._messages.get(part) != str(error):
            self._messages[part] = str(error)
            logger.warning("%s: the watches %s could not look: %s", self.deployment, ", ".join(names), error)


LOOK_SECONDS = 60.0  # a minute more or less means nothing where minutes are tolerated
POLLS_A_LOOK = 4
"""The number of comparisons between two looks. Airflow is watched more often if it is compared with the log
more often."""


class Watches:
    """The watches.
    `run()` is their background task.

    `watches` is called at each look, so that a changed file counts. `mail` says since when no mail can be
    sent, and why. Failing mail is reported as the first Airflow's."""

    def __init__(
        self,
        watched: Sequence[WatchedAirflow],
        database: Database,
        ingest: Ingest,
        watches: Callable[[], Sequence[Watch]],
        mail: MailTrouble,
        metrics: Metrics,
        clock: Clock,
        poll_seconds: float = LOOK_SECONDS / POLLS_A_LOOK,
    ) -> None:
        self._look_seconds = min(LOOK_SECONDS, POLLS_A_LOOK * poll_seconds)
        self._looks = [AirflowLook(airflow, database, ingest, metrics) for airflow in watched]
        self._watches = watches
        self._mail = mail
        self._metrics = metrics
        self._clock = clock

    async def run(self) -> None:
        """Look every minute until canceled. Not at once: the reconciler comes first."""
        while True:
            await asyncio.sleep(self._look_seconds)
            await self.look()

    async def look(self) -> None:
        """Make one round: every Airflow, and the mail server."""
        watches = self._watches()
        for number, airflow_look in enumerate(self._looks):
            try:
                result = await airflow_look.look(watches, self._clock())
                if number == 0:
                    await self._look_at_mail(airflow_look, watches)
            except Exception:  # a database that is full or gone, or a mistake: the next look is in a minute
                logger.exception("%s: the watches could not look", airflow_look.deployment)
                result = "error"
            self._metrics.watch_checks.labels(airflow_look.deployment, result).inc()

    async def _look_at_mail(self, airflow_look: AirflowLook, watches: Sequence[Watch]) -> None:
        now, deployment = self._clock(), airflow_look.deployment
        watch = WatchSelector(watches, "mail", deployment).find_global()
        finding = airflow_look.account.open.get((FAILING, MAIL_SUBJECT))
        found = mail_failing(await self._mail(), watch, finding, deployment, now)
        over = partial(mail_works_again, deployment, now)
        await airflow_look.account.settle("mail", FAILING, found, over, now)
