"""The look-ups in Airflow that pages need.

`AskedAirflow` asks for the end of a try's log, and for the facts of a run that only Airflow has. Airflow is
asked as the monitor's own user, and only about DAGs that the reader may read. Each question is bounded in
time, in length, and in how many are open at once. Answers are masked as mails mask them.

`Lineage` keeps for a while which tasks make an asset and which DAGs and tasks wait for it, as Airflow says.
A page waits for Airflow only for a moment, and a later answer is shown at the page's next refresh. Airflow
answers with the rights of the monitor's own user, so a page checks every name against what the reader may
see.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from monitor.clock import Clock
from monitor.concurrency import FairLimiter, Overloaded
from monitor.delivery.confirm import AirflowReader
from monitor.delivery.messages.facts import mask_secrets, mask_value
from monitor.delivery.messages.filters import shorten
from monitor.delivery.messages.model import RunDifference, RunInfo
from monitor.delivery.messages.run_history import (
    ASKED,
    ASKED_STATES,
    RunDetails,
    RunHistory,
    changes_of,
    from_airflow,
)
from monitor.errors import AirflowError, AirflowNotFound, AirflowRefused, AirflowUnaddressable
from monitor.event_log.projections.assets import AssetName
from monitor.event_log.projections.runs import RunName

LINES = 100  # of a log's end: where it broke, and what led there
ASK_SECONDS = 15.0  # a person waits for it, and for its turn
OPEN_AT_ONCE = 4  # questions of all readers: Airflow has its own work to do
OPEN_OF_ONE = 2  # questions of one reader, so that the others do not wait for a reader who asks a lot
CONF_LENGTH = 4_000  # characters
NOTE_LENGTH = 2_000

T = TypeVar("T")

logger = logging.getLogger(__name__)


class NoAnswer(Exception):
    """No answer from Airflow. The message says why, for people."""


@dataclass(frozen=True)
class Details:
    """The facts that Airflow adds to the run's row in the projection.
    None means that it has none, or does not say."""

    version: str | None
    bundle_version: str | None
    by: str | None
    conf: str | None
    note: str | None
    last_good: RunInfo | None
    changes: tuple[RunDifference, ...]
    unlisted: int
    """Changes beyond those."""


@dataclass(frozen=True)
class AskedAirflow:
    """The reader of every Airflow, by its deployment's name."""

    airflows: Mapping[str, AirflowReader]
    _limiter: FairLimiter = field(default_factory=lambda: FairLimiter(OPEN_AT_ONCE, OPEN_OF_ONE))

    async def log_end(
        self, whose: str, name: RunName, task_id: str, map_index: int, try_number: int
    ) -> list[str]:
        """Return the last LINES of a try's log, the oldest first.
        The question takes the share of `whose`. Raises NoAnswer, and Overloaded if too many of the reader's
        questions wait."""

        async def ask(airflow: AirflowReader) -> list[str]:
            where = (name.dag_id, name.run_id, task_id, map_index, try_number)
            return await airflow.log_tail(*where, LINES)

        lines = await self._ask(whose, name.deployment, ask, f"no log of try {try_number} of {task_id!r}")
        return [mask_secrets(line) for line in lines]

    async def details(self, whose: str, name: RunName, until: datetime | None) -> Details:
        """Return what Airflow knows of a run, and the last successful run that began before `until`.
        Raises NoAnswer and Overloaded, as `log_end` does."""

        async def ask(airflow: AirflowReader) -> tuple[RunDetails, str | None, list[RunDetails]]:
            row = await airflow.dag_run(name.dag_id, name.run_id)
            (this,) = from_airflow(name.deployment, [row])
            earlier_rows = await airflow.runs_of(name.dag_id, until, ASKED_STATES, ASKED) if until else []
            note = str(row["note"]) if row.get("note") else None
            return this, note, from_airflow(name.deployment, earlier_rows)

        this, note, earlier_runs = await self._ask(whose, name.deployment, ask, f"no run {name.run_id!r}")
        good = RunHistory.build(earlier_runs, this.run, until).last_good if until else None
        changes, unlisted = changes_of(this, good) if good else ((), 0)
        return Details(
            version=this.version,
            bundle_version=this.bundle_version,
            by=this.by,
            conf=shorten(mask_value(this.conf), CONF_LENGTH) if this.conf else None,
            note=shorten(mask_secrets(note), NOTE_LENGTH) if note else None,
            last_good=good.run if good else None,
            changes=changes,
            unlisted=unlisted,
        )

    async def _ask(
        self, whose: str, deployment: str, question: Callable[[AirflowReader], Awaitable[T]], nothing: str
    ) -> T:
        airflow = self.airflows.get(deployment)
        if airflow is None:
            raise NoAnswer(
                f"No Airflow is configured for the deployment {deployment!r}: set WINDSOCK_AIRFLOW_URL."
            )
        try:
            return await self._ask_in_turn(whose, airflow, question)
        except (NoAnswer, Overloaded):
            raise
        except AirflowNotFound:
            raise NoAnswer(f"Airflow has {nothing}, or none any more.") from None
        except AirflowUnaddressable as error:
            raise NoAnswer(str(error)) from None
        except AirflowRefused as error:
            raise NoAnswer(f"Airflow does not let the monitor's own user read this: {error}") from None
        except AirflowError as error:
            raise NoAnswer(f"Airflow cannot be asked at the moment: {error}") from None
        except Exception as error:  # rows that are not what Airflow's are
            logger.exception("%s: what Airflow answered makes no sense", deployment)
            raise NoAnswer(f"Airflow's answer makes no sense: {error!r}") from None

    async def _ask_in_turn(
        self, whose: str, airflow: AirflowReader, question: Callable[[AirflowReader], Awaitable[T]]
    ) -> T:
        """Ask when the reader's turn comes.
        Raises NoAnswer if it takes too long, and Overloaded if too many of the reader's questions wait."""

        async def ask() -> T:
            async with self._limiter.turn(whose, ASK_SECONDS):
                return await question(airflow)

        try:
            return await asyncio.wait_for(ask(), ASK_SECONDS)
        except Overloaded as overloaded:
            if overloaded.is_too_many:
                raise
        except (TimeoutError, asyncio.TimeoutError):
            pass
        raise NoAnswer(f"Airflow did not answer within {ASK_SECONDS:.0f} s. Try again.")


KEPT = timedelta(minutes=5)  # it changes with DAG files only
FAILED_KEPT = timedelta(seconds=30)  # so that an Airflow that is away is not asked by each refresh of a page
WAIT_SECONDS = 1.5  # a page's patience
MAX_KEPT = 1_000  # answers remembered
MAX_ASKING = 20  # questions under way: beyond them Airflow is not asked, and the page says so
MAX_ASKING_OF_ONE = 5  # for one reader, so that a reader of many assets leaves answers to the others


class AssetsApi(Protocol):
    """The part of Airflow's API that lineage needs."""

    async def asset(self, uri: str) -> dict[str, Any] | None:
        """Return the asset. Raises AirflowError."""
        ...


@dataclass(frozen=True)
class AssetLineage:
    """The neighbors of an asset in Airflow: the tasks and DAGs that make and use it."""

    makers: tuple[tuple[str, str], ...] = ()
    """(dag_id, task_id) of the tasks that have it as an outlet."""
    scheduled: tuple[str, ...] = ()
    """The DAGs that it begins."""
    readers: tuple[tuple[str, str], ...] = ()
    """The tasks that have it as an inlet."""
    problem: str | None = None
    """The reason why nothing is known."""


NOT_ASKED = AssetLineage(problem="no Airflow is configured for this deployment")
UNDER_WAY = AssetLineage(problem="Airflow has not answered yet; the page asks again")
NOT_NAMED = AssetLineage(problem="no DAG in Airflow names this asset at the moment")


@dataclass
class Lineage:
    """The lineage of every Airflow's assets, by deployment."""

    apis: Mapping[str, AssetsApi]
    clock: Clock
    _answers: OrderedDict[AssetName, tuple[datetime, AssetLineage]] = field(default_factory=OrderedDict)
    _asking: dict[AssetName, "asyncio.Task[AssetLineage]"] = field(default_factory=dict)
    _asked_by: dict[AssetName, str] = field(default_factory=dict)

    async def get(self, whose: str, name: AssetName) -> AssetLineage:
        """Return what is known of an asset within a moment. A question takes the share of `whose`."""
        if name.deployment not in self.apis:
            return NOT_ASKED
        if name in self._answers:
            until, lineage = self._answers[name]
            if self.clock() < until:
                return lineage
        task = self._asking.get(name)
        if task is None:
            of_reader = sum(asker == whose for asker in self._asked_by.values())
            if len(self._asking) >= MAX_ASKING or of_reader >= MAX_ASKING_OF_ONE:
                return UNDER_WAY
            self._asked_by[name] = whose
            task = self._asking[name] = asyncio.create_task(self._ask(name), name=f"lineage of {name.uri}")
        done, _ = await asyncio.wait([task], timeout=WAIT_SECONDS)
        return task.result() if done else UNDER_WAY

    async def _ask(self, name: AssetName) -> AssetLineage:
        try:
            row = await self.apis[name.deployment].asset(name.uri)
            lineage, keep_for = _read(row) if row else NOT_NAMED, KEPT
        except AirflowError as error:
            logger.warning("Airflow %s does not list the asset %s: %s", name.deployment, name.uri, error)
            lineage, keep_for = AssetLineage(problem=f"Airflow does not say: {error}"), FAILED_KEPT
        except Exception as error:  # a row that is not what Airflow's are
            logger.exception("what Airflow %s tells of the asset %s", name.deployment, name.uri)
            problem = f"Airflow's answer makes no sense: {type(error).__name__}"
            lineage, keep_for = AssetLineage(problem=problem), FAILED_KEPT
        finally:
            self._asking.pop(name, None)
            self._asked_by.pop(name, None)
        self._answers[name] = (self.clock() + keep_for, lineage)
        self._answers.move_to_end(name)
        if len(self._answers) > MAX_KEPT:
            self._answers.popitem(last=False)
        return lineage


def _read(row: Mapping[str, Any]) -> AssetLineage:
    """Return the lineage of a row. Its field is `scheduled_dags`, or `consuming_dags` up to Airflow 3.0."""
    scheduled = row.get("scheduled_dags", row.get("consuming_dags")) or ()
    return AssetLineage(
        _tasks(row.get("producing_tasks")),
        tuple(str(dag.get("dag_id")) for dag in scheduled),
        _tasks(row.get("consuming_tasks")),
    )


def _tasks(rows: Any) -> tuple[tuple[str, str], ...]:
    return tuple((str(row.get("dag_id")), str(row.get("task_id"))) for row in rows or ())
