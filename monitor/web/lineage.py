"""Who makes an asset and who waits for it, in Airflow's own words, kept for a while.

A page waits for Airflow a moment only: what it says later is there at the page's next refresh. Airflow is
asked with the monitor's own rights, so every name has to be held against what the reader may see.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from monitor.board import AssetName
from monitor.clock import Clock
from monitor.errors import AirflowError

KEPT = timedelta(minutes=5)  # it changes with DAG files only
FAILED_KEPT = timedelta(seconds=30)  # so that an Airflow that is away is not asked by each refresh of a page
WAIT_SECONDS = 1.5  # a page's patience
MAX_KEPT = 1_000  # answers remembered
MAX_ASKING = 20  # questions under way; beyond it nobody is asked, and the page says so

logger = logging.getLogger(__name__)


class AssetsApi(Protocol):
    async def asset(self, uri: str) -> dict[str, Any] | None:
        """Raises AirflowError."""
        ...


@dataclass(frozen=True)
class Known:
    """What Airflow said of an asset."""

    makers: tuple[tuple[str, str], ...] = ()
    """(dag_id, task_id) of the tasks that have it as an outlet."""
    scheduled: tuple[str, ...] = ()
    """The DAGs that it begins."""
    readers: tuple[tuple[str, str], ...] = ()
    """The tasks that have it as an inlet."""
    problem: str | None = None
    """Why nothing is known."""


NOT_ASKED = Known(problem="no Airflow is configured for this deployment")
UNDER_WAY = Known(problem="Airflow has not answered yet; the page asks again")
NOT_NAMED = Known(problem="no DAG in Airflow names this asset at the moment")


@dataclass
class Lineage:
    """Of every Airflow, by deployment."""

    apis: Mapping[str, AssetsApi]
    clock: Clock
    _answers: OrderedDict[AssetName, tuple[datetime, Known]] = field(default_factory=OrderedDict)
    _asking: dict[AssetName, "asyncio.Task[Known]"] = field(default_factory=dict)

    async def of(self, name: AssetName) -> Known:
        """What is known within a moment."""
        if name.deployment not in self.apis:
            return NOT_ASKED
        if name in self._answers:
            until, known = self._answers[name]
            if self.clock() < until:
                return known
        task = self._asking.get(name)
        if task is None:
            if len(self._asking) >= MAX_ASKING:
                return UNDER_WAY
            task = self._asking[name] = asyncio.create_task(self._ask(name), name=f"lineage of {name.uri}")
        done, _ = await asyncio.wait([task], timeout=WAIT_SECONDS)
        return task.result() if done else UNDER_WAY

    async def _ask(self, name: AssetName) -> Known:
        try:
            row = await self.apis[name.deployment].asset(name.uri)
            known, kept = _read(row) if row else NOT_NAMED, KEPT
        except AirflowError as error:
            logger.warning("Airflow %s does not list the asset %s: %s", name.deployment, name.uri, error)
            known, kept = Known(problem=f"Airflow does not say: {error}"), FAILED_KEPT
        except Exception as error:  # a row that is not what Airflow's are
            logger.exception("what Airflow %s tells of the asset %s", name.deployment, name.uri)
            problem = f"Airflow's answer makes no sense: {type(error).__name__}"
            known, kept = Known(problem=problem), FAILED_KEPT
        finally:
            self._asking.pop(name, None)
        self._answers[name] = (self.clock() + kept, known)
        self._answers.move_to_end(name)
        if len(self._answers) > MAX_KEPT:
            self._answers.popitem(last=False)
        return known


def _read(row: Mapping[str, Any]) -> Known:
    """`scheduled_dags`: to Airflow 3.0 `consuming_dags`."""
    scheduled = row.get("scheduled_dags", row.get("consuming_dags")) or ()
    return Known(
        _tasks(row.get("producing_tasks")),
        tuple(str(dag.get("dag_id")) for dag in scheduled),
        _tasks(row.get("consuming_tasks")),
    )


def _tasks(rows: Any) -> tuple[tuple[str, str], ...]:
    return tuple((str(row.get("dag_id")), str(row.get("task_id"))) for row in rows or ())
