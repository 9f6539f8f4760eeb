"""For how long a run waited for a person's answer (human in the loop, Airflow 3.1 and newer).

Its task is `deferred` before 3.3 and `awaiting_input` from then on, but a task is deferred for other reasons
too: Airflow's listing of the questions decides.
"""

import logging
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from monitor.airflow_api import AirflowApi
from monitor.errors import AirflowNotFound, AirflowRefused, EventError
from monitor.events.rest import Row, moment_of
from monitor.watches.stuck import LongRun, Waited

FIRST_VERSION = (3, 1)
MAX_ASKED = 20  # runs at one look, a request each; the others are not stuck before they were asked about
TASK_ENDS = ("success", "failed", "skipped", "upstream_failed", "removed")

logger = logging.getLogger(__name__)


class Waiting:
    """Of one Airflow."""

    def __init__(self, api: AirflowApi) -> None:
        self._api = api
        self._is_refused = False

    async def waited(self, runs: Sequence[LongRun], now: datetime) -> Waited:
        """Of each of these runs. Raises AirflowError."""
        new = [each for each in runs if not each.is_told]
        if not new or not await self._has_questions():
            return {each.key: timedelta(0) for each in new}
        return {each.key: await self._of(each, now) for each in new[:MAX_ASKED]}

    async def _has_questions(self) -> bool:
        found = re.match(r"(\d+)\.(\d+)", await self._api.version())
        return found is None or (int(found[1]), int(found[2])) >= FIRST_VERSION

    async def _of(self, each: LongRun, now: datetime) -> timedelta | None:
        try:
            rows = await self._api.human_questions(each.run.dag_id, each.run.run_id)
        except AirflowNotFound:  # it is gone, and no longer stuck at the next look
            return None
        except AirflowRefused as refused:
            self._say(refused)
            return timedelta(0)
        return _together(_spans(rows, each.start, now))

    def _say(self, refused: AirflowRefused) -> None:
        if not self._is_refused:
            self._is_refused = True
            logger.warning(
                "%s: a run that waits for a person may be reported as stuck: %s",
                self._api.deployment,
                refused,
            )


def _spans(rows: Sequence[Row], start: datetime, now: datetime) -> list[tuple[datetime, datetime]]:
    """From when to when each question was open."""
    spans = []
    for row in rows:
        try:
            asked, answered = moment_of(row, "created_at"), moment_of(row, "responded_at")
            task = row.get("task_instance")
            if answered is None and isinstance(task, dict) and task.get("state") in TASK_ENDS:
                answered = moment_of(task, "end_date")
        except EventError as error:
            logger.warning("a question to a person is passed over: %s", error)
            continue
        if asked is not None:
            spans.append((max(asked, start), min(answered or now, now)))
    return spans


def _together(spans: Iterable[tuple[datetime, datetime]]) -> timedelta:
    """How long any of them was open."""
    total, upto = timedelta(0), None
    for begin, end in sorted(spans):
        fresh = begin if upto is None else max(begin, upto)
        if end > fresh:
            total += end - fresh
            upto = end
    return total
