"""Tries that are over and behind which another one stands, begun or still waiting: no listing shows them.

Most were told by their hooks, or by a poll while they were the latest. What is left is what no hook tells:
above all the tries that Airflow takes from a dead scheduler, files as failed and begins anew. Airflow shows
what it has filed task by task only, so it is asked for a task of which a try is lacking, and once.
"""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor import board, event_log
from monitor.airflow_api import AirflowApi, Page
from monitor.clock import Clock
from monitor.database import Database
from monitor.errors import (
    AirflowError,
    AirflowNotFound,
    AirflowUnaddressable,
    AirflowUnreachable,
    EventError,
)
from monitor.events import Event
from monitor.events.data import TASK_STATES
from monitor.events.rest import Row, filed_try_event, moment_of, number_of
from monitor.ingest import Ingest
from monitor.metrics import Metrics
from monitor.reconciler.listings import CLOCK_SLACK
from monitor.reconciler.teller import Teller
from monitor.reconciler.tried_task import TriedTask

HOOKS_FIRST = timedelta(seconds=30)
"""How old a try's end must be. A hook's report holds the error and comes first; one that comes later still
is taken for what it is, a second word on the same end."""

MAX_ASKED = 3  # times that a task is asked for whose tries Airflow fails to show: the watermark waits for it
MAX_REMEMBERED = 10_000  # tasks, so that overlapping windows ask for none of them again: about 1 MiB
RUN_STARTS = "airflow.dag_run.running"
TASK_ENDS = tuple(state for state in TASK_STATES if state != "running")

logger = logging.getLogger(__name__)


class EarlierTries:
    """Of one deployment. `retention`: how long the log keeps events; None: for ever."""

    def __init__(
        self,
        api: AirflowApi,
        database: Database,
        ingest: Ingest,
        metrics: Metrics,
        clock: Clock,
        retention: timedelta | None,
    ) -> None:
        self._api = api
        self._database = database
        self._metrics = metrics
        self._clock = clock
        self._retention = retention
        self._teller = Teller("earlier tries", api.deployment, ingest, metrics)
        self._settled: OrderedDict[str, None] = OrderedDict()
        self._failed: OrderedDict[str, int] = OrderedDict()

    async def fill(self, page: Page) -> list[datetime]:
        """Tell what is lacking of the tasks on a page; answers since when those wait that are too young.

        Raises IngestBusy, SQLAlchemyError. An Airflow that does not answer is asked again at the next look.
        """
        events: list[Event] = []
        waiting: list[datetime] = []
        settled: list[TriedTask] = []
        unreachable = False
        for task in await self._incomplete(page.rows):
            young = _within(moment_of(task.row, "scheduled_when"), page.moment)
            if young or unreachable:
                waiting.append(young or _moment(task, page))
                continue
            try:
                filed = await self._ask(task)
            except AirflowError as error:
                unreachable = isinstance(error, AirflowUnreachable)
                if not self._give_up(task, error):
                    waiting.append(_moment(task, page))
                continue
            ended, too_young = self._ended(task, filed)
            events += ended
            waiting += too_young
            if not too_young:
                settled.append(task)
        await self._teller.tell(events)
        for task in settled:
            self._settle(task)
        return waiting

    async def _incomplete(self, rows: Sequence[Row]) -> list[TriedTask]:
        """The tasks that have earlier tries of which an end is not told."""
        tasks = []
        for row in rows:
            try:
                task = TriedTask.of(self._api.deployment, row)
            except EventError:  # filling.py has said so
                continue
            if task.remembered_as not in self._settled:
                tasks.append(task)
        if tasks:
            await self._database.read(lambda connection: self._look_up(connection, tasks))
        for task in tasks:
            if not task.lacking:
                self._settle(task)
        return [task for task in tasks if task.lacking]

    def _look_up(self, connection: Connection, tasks: Sequence[TriedTask]) -> None:
        """What the log knows of these tasks and of their runs' beginnings."""
        told = board.tries_of(connection, [task.name for task in tasks])
        for task in tasks:
            task.told = told.get(task.name, {})
        runs = {task.name[1:3] for task in tasks if task.may_be_made_anew}
        started = event_log.first_times(connection, self._api.deployment, RUN_STARTS, runs)
        for task in tasks:
            task.run_started = started.get(task.name[1:3])

    async def _ask(self, task: TriedTask) -> Page | None:
        """What Airflow has filed; None where it knows no such task any more."""
        try:
            return await self._api.tries(*task.name[1:])
        except AirflowNotFound:
            return None

    def _ended(self, task: TriedTask, filed: Page | None) -> tuple[list[Event], list[datetime]]:
        """The ends that are to be told, and those that are too young for it."""
        if filed is None:
            return [], []
        events, waiting = [], []
        rows, wrong = _by_number(filed.rows)
        for number in sorted(task.lacking & rows.keys()):
            row = rows[number]
            try:
                event = filed_try_event(
                    self._api.deployment, row, self._clock(), task.uuid_of(number, rows.keys())
                )
                young = _within(moment_of(row, "end_date"), filed.moment)
            except EventError as error:
                wrong = str(error)
                continue
            if young:
                waiting.append(young)
            elif event and not self._is_forgotten(event):
                events.append(event)
        self._teller.pass_over({"/".join(map(str, task.name[1:])): wrong} if wrong else {})
        absent = [number for number in task.lacking - rows.keys() if not task.has_end(number)]
        if absent:
            self._pass_over("not_filed", len(absent))
        return events, waiting

    def _is_forgotten(self, event: Event) -> bool:
        """As filling.py has it: what is older than what the log keeps was told, or is no news."""
        if self._retention is None or event.time >= self._clock() - self._retention:
            return False
        self._pass_over("expired", 1)
        return True

    def _give_up(self, task: TriedTask, error: AirflowError) -> bool:
        """Whether a task was asked for often enough. It holds up the watermark until then."""
        times = self._failed.pop(task.remembered_as, 0) + 1
        if times < MAX_ASKED and not isinstance(error, AirflowUnaddressable):
            self._failed[task.remembered_as] = times
            _bound(self._failed)
            return False
        logger.warning("%s: the earlier tries of %s are left: %s", *(task.name[0], task.name[1:], error))
        self._pass_over("no_answer", len(task.lacking))
        self._settle(task)
        return True

    def _settle(self, task: TriedTask) -> None:
        self._settled[task.remembered_as] = None
        self._failed.pop(task.remembered_as, None)
        _bound(self._settled)

    def _pass_over(self, reason: str, number: int) -> None:
        self._metrics.reconcile_skipped.labels(self._api.deployment, reason).inc(number)


def _by_number(rows: Sequence[Row]) -> tuple[dict[int, Row], str]:
    """What Airflow has filed, by its try; and what is wrong with rows that name none.

    A task that was cleared and has not begun again stands there too, without an end, under the same number.
    """
    numbered: dict[int, Row] = {}
    wrong = ""
    for row in rows:
        try:
            number = number_of(row, "try_number")
        except EventError as error:
            wrong = str(error)
            continue
        if number not in numbered or row.get("state") in TASK_ENDS:
            numbered[number] = row
    return numbered, wrong


def _within(moment: datetime | None, now: datetime) -> datetime | None:
    """The moment, where hooks' reports of what was then may still be on their way."""
    return moment if moment and -CLOCK_SLACK <= now - moment < HOOKS_FIRST else None


def _moment(task: TriedTask, page: Page) -> datetime:
    """When Airflow changed the row, or earlier: a watermark that stands there does not pass it."""
    name = "start_date" if task.row.get("state") == "running" else "end_date"
    return min(moment_of(task.row, name) or page.moment, page.moment)


def _bound(remembered: "OrderedDict[str, None] | OrderedDict[str, int]") -> None:
    while len(remembered) > MAX_REMEMBERED:
        remembered.popitem(last=False)
