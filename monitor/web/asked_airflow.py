"""What a page asks Airflow on somebody's behalf: the end of a log, and what only Airflow knows of a run.

It is asked as the monitor's own user, of DAGs that the reader may read; each question is bounded in time, in
length, and in how many are open at once. What comes back is masked as mails mask it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from monitor.board import RunName
from monitor.delivery.airflow import Airflow
from monitor.delivery.differences import changes_of
from monitor.delivery.history import ASKED, ASKED_STATES, History, PastRun, from_airflow
from monitor.delivery.masks import shown, without_secrets
from monitor.errors import AirflowError, AirflowNotFound, AirflowRefused, AirflowUnaddressable
from monitor.render import Change, Run
from monitor.render.words import shortened

LINES = 100  # of a log's end: where it broke, and what led there
ASK_SECONDS = 15.0  # somebody waits for it
OPEN_AT_ONCE = 4  # questions of all readers: Airflow has its own work to do
CONF_LENGTH = 4_000  # characters
NOTE_LENGTH = 2_000

T = TypeVar("T")

logger = logging.getLogger(__name__)


class NoAnswer(Exception):
    """Airflow does not say: the message says why, for people."""


@dataclass(frozen=True)
class Details:
    """What Airflow adds to the board's row. None: it has none, or does not say."""

    version: str | None
    bundle_version: str | None
    by: str | None
    conf: str | None
    note: str | None
    last_good: Run | None
    changes: tuple[Change, ...]
    unlisted: int
    """Changes beyond those."""


@dataclass(frozen=True)
class AskedAirflow:
    """Every Airflow, by its deployment's name."""

    airflows: Mapping[str, Airflow]
    _open: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(OPEN_AT_ONCE))

    async def log_end(self, name: RunName, task_id: str, map_index: int, try_number: int) -> list[str]:
        """The last LINES of a try's log, the oldest first. Raises NoAnswer."""

        async def ask(airflow: Airflow) -> list[str]:
            where = (name.dag_id, name.run_id, task_id, map_index, try_number)
            return await airflow.log_tail(*where, LINES)

        lines = await self._ask(name.deployment, ask, f"no log of try {try_number} of {task_id!r}")
        return [without_secrets(line) for line in lines]

    async def details(self, name: RunName, until: datetime | None) -> Details:
        """What is known of a run, beside the last good one that began before `until`. Raises NoAnswer."""

        async def ask(airflow: Airflow) -> tuple[PastRun, str | None, list[PastRun]]:
            row = await airflow.dag_run(name.dag_id, name.run_id)
            (this,) = from_airflow(name.deployment, [row])
            others = await airflow.runs_of(name.dag_id, until, ASKED_STATES, ASKED) if until else []
            note = str(row["note"]) if row.get("note") else None
            return this, note, from_airflow(name.deployment, others)

        this, note, others = await self._ask(name.deployment, ask, f"no run {name.run_id!r}")
        good = History.of(others, this.run, until).last_good if until else None
        changes, unlisted = changes_of(this, good) if good else ((), 0)
        return Details(
            version=this.version,
            bundle_version=this.bundle_version,
            by=this.by,
            conf=shortened(shown(this.conf), CONF_LENGTH) if this.conf else None,
            note=shortened(without_secrets(note), NOTE_LENGTH) if note else None,
            last_good=good.run if good else None,
            changes=changes,
            unlisted=unlisted,
        )

    async def _ask(self, deployment: str, question: Callable[[Airflow], Awaitable[T]], nothing: str) -> T:
        airflow = self.airflows.get(deployment)
        if airflow is None:
            raise NoAnswer(
                f"No Airflow is configured for the deployment {deployment!r}: set WINDSOCK_AIRFLOW_URL."
            )
        try:
            async with self._open:
                return await asyncio.wait_for(question(airflow), ASK_SECONDS)
        except AirflowNotFound:
            raise NoAnswer(f"Airflow has {nothing}, or none any more.") from None
        except AirflowUnaddressable as error:
            raise NoAnswer(str(error)) from None
        except AirflowRefused as error:
            raise NoAnswer(f"Airflow does not let the monitor's own user read this: {error}") from None
        except AirflowError as error:
            raise NoAnswer(f"Airflow cannot be asked at the moment: {error}") from None
        except (TimeoutError, asyncio.TimeoutError):
            raise NoAnswer(f"Airflow did not answer within {ASK_SECONDS:.0f} s. Try again.") from None
        except Exception as error:  # rows that are not what Airflow's are
            logger.exception("%s: what Airflow answered makes no sense", deployment)
            raise NoAnswer(f"Airflow's answer makes no sense: {error!r}") from None
