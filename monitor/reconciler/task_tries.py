"""The earlier tries of tasks, compared with the log.

An earlier try is over, and another try of the same task has begun or waits. No listing shows such tries.
Hooks report most of them, and a poll reports others while they are the latest. The rest are tries that no
hook reports, above all those that Airflow takes from a dead scheduler, archives as failed and starts again.

Airflow shows archived tries for one task at a time only. So it is asked once for each task that lacks a try.
"""

import logging
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from uuid import UUID

from sqlalchemy import Connection

from monitor.airflow.client import AirflowApi
from monitor.airflow.paging import ListingPage
from monitor.clock import Clock
from monitor.database.engine import Database
from monitor.errors import AirflowError, AirflowNotFound, AirflowUnaddressable, AirflowUnreachable, EventError
from monitor.event_log import read
from monitor.event_log.ingest import Ingest
from monitor.event_log.projections import tries
from monitor.event_log.projections.tries import TaskName, Try
from monitor.events.data import MAX_KEY, SHOWN_VALUE, TASK_STATES
from monitor.events.event import Event
from monitor.events.from_airflow import Row, earlier_try_event, moment_of, number_of, text_of
from monitor.observability.metrics import Metrics
from monitor.reconciler.listings import CLOCK_SLACK
from monitor.reconciler.reporting import SnapshotReporter

FILED_UNDER_ITS_NUMBER = (None, "restarting", "up_for_retry")
"""States of a row whose number is still that of the try that Airflow has filed: the scheduler counts on when
it schedules the next one."""
START_SLACK = timedelta(seconds=2)
"""The least time between the run's start and a task instance's creation that shows that the instance was
made anew. The hosts that make runs and start them have clocks of their own."""
DATES = ("scheduled_when", "start_date", "end_date")  # that are read of it
MAX_TRIES = 10_000  # of a task: each is looked for, so an impossible number must cost no memory
UUID7_UNIX_MS_BITS = 80  # a UUID of version 7 begins with 48 bits of milliseconds


@dataclass
class TriedTask:
    """A row of a listing of task instances."""

    row: Row
    name: TaskName
    try_number: int
    ti_id: str
    logged_tries: dict[int, Try] = field(default_factory=dict)
    """The task's tries in the log."""
    run_started: datetime | None = None
    """The first start of the task's run, as far as the log knows."""

    @classmethod
    def from_row(cls, deployment: str, row: Row) -> "TriedTask":
        """Return the task of a row. Raises EventError if the row makes no sense."""
        dag_id, run_id, task_id = (text_of(row, name) for name in ("dag_id", "dag_run_id", "task_id"))
        name = TaskName(deployment, dag_id, run_id, task_id, number_of(row, "map_index"))
        if any(len(part) > MAX_KEY for part in (dag_id, run_id, task_id)):
            raise EventError(f"a name of {dag_id[:SHOWN_VALUE]!r} is longer than {MAX_KEY} characters")
        try_number = number_of(row, "try_number")
        if try_number > MAX_TRIES:
            raise EventError(
                f"try_number: {try_number} is more than {MAX_TRIES}; its tries are not looked for"
            )
        for date in DATES:
            moment_of(row, date)
        return cls(row, name, try_number, text_of(row, "id"))

    @property
    def remembered_as(self) -> str:
        """The text that stays the same until another try of the task is archived."""
        return f"{self.ti_id} {self.last_filed}"

    @property
    def lacking(self) -> set[int]:
        """The earlier tries whose ends are not logged, or not surely as Airflow has archived them."""
        first = 0 if self.is_made_anew else 1
        return {number for number in range(first, self.last_filed + 1) if not self.is_logged(number)}

    @property
    def last_filed(self) -> int:
        """The number of the latest try that Airflow may have filed."""
        waits_for_its_number = self.row.get("state") in FILED_UNDER_ITS_NUMBER
        return self.try_number if waits_for_its_number else self.try_number - 1

    @property
    def may_be_made_anew(self) -> bool:
        """True if the task's first UUID can show that it was made anew.
        Mapped instances are made while the run goes on."""
        return self.name.map_index < 0 and (self.try_number <= 1 or 1 in self.logged_tries)

    @property
    def is_made_anew(self) -> bool:
        """True if the task was cleared before it ever began, in a run that went on.
        Airflow archives that as try 0.

        Airflow makes the instances of a run before the run starts, and gives an instance a new UUID when it
        is cleared. No other field of REST's answer shows that."""
        made = _creation_time(self._first_id) if self.may_be_made_anew else None
        return bool(made and self.run_started and made > self.run_started + START_SLACK)

    @property
    def _first_id(self) -> str | None:
        """The UUID of the first try that began, or is to begin."""
        return self.logged_tries[1].ti_id if 1 in self.logged_tries else self.ti_id

    def is_logged(self, number: int) -> bool:
        """Return True if this try's end is surely logged as Airflow has archived it.
        A failure counts as logged. Any other end may come from a process whose scheduler was dead, and then
        Airflow has archived its try as failed all the same."""
        return self.has_end(number) and (
            self.logged_tries[number].filed or self.logged_tries[number].is_failure
        )

    def has_end(self, number: int) -> bool:
        """Return True if an end of this try was reported."""
        return number in self.logged_tries and self.logged_tries[number].is_over

    def uuid_of(self, number: int, filed: Collection[int]) -> str | None:
        """Return the UUID of an archived try, if the log knows it.

        A try that failed while it was queued is not archived. Its UUID goes on to the next number, and to
        Airflow the try archived under that number is the same try (measured on 3.2.2)."""
        if number in self.logged_tries:
            return self.logged_tries[number].ti_id
        before = max((other for other in self.logged_tries if other < number), default=None)
        if before is None or any(before <= other < number for other in filed):
            return None
        return self.logged_tries[before].ti_id if self.logged_tries[before].is_failure else None


def _creation_time(ti_id: str | None) -> datetime | None:
    """Return when a UUID of version 7 was made, or None for any other UUID."""
    try:
        uuid = UUID(ti_id or "")
    except ValueError:
        return None
    if uuid.version != 7:
        return None
    try:
        return datetime.fromtimestamp((uuid.int >> UUID7_UNIX_MS_BITS) / 1000, timezone.utc)
    except (ValueError, OverflowError, OSError):  # its 48 bits reach beyond the calendar
        return None


HOOKS_FIRST = timedelta(seconds=30)
"""The least age of a try's end. A hook's report holds the error and comes first. A report that comes later
still counts as a second report of the same end."""

MAX_ASKED = 3  # times that a task is asked for whose tries Airflow fails to show: the watermark waits for it
MAX_REMEMBERED = 10_000  # tasks, so that overlapping windows ask for none of them again: about 1 MiB
RUN_STARTS = "airflow.dag_run.running"
TASK_ENDS = tuple(state for state in TASK_STATES if state != "running")

logger = logging.getLogger(__name__)


class EarlierTries:
    """The search for one deployment's earlier tries.
    `retention` is how long the log keeps events, or None for ever."""

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
        self._reporter = SnapshotReporter("earlier tries", api.deployment, ingest, metrics)
        self._settled: OrderedDict[str, None] = OrderedDict()
        self._failed: OrderedDict[str, int] = OrderedDict()

    async def fill(self, page: ListingPage) -> list[datetime]:
        """Log what is missing of the tasks on a page.
        Return since when the tasks wait that are too young.

        Raises IngestBusy and SQLAlchemyError. An Airflow that does not answer is asked again at the next
        look."""
        events: list[Event] = []
        young_dates: list[datetime] = []
        settled: list[TriedTask] = []
        unreachable = False
        for task in await self._incomplete(page.rows):
            young = _within(moment_of(task.row, "scheduled_when"), page.moment)
            if young or unreachable:
                young_dates.append(young or _moment(task, page))
                continue
            try:
                filed = await self._ask(task)
            except AirflowError as error:
                unreachable = isinstance(error, AirflowUnreachable)
                if not self._give_up(task, error):
                    young_dates.append(_moment(task, page))
                continue
            ended, too_young = self._collect_ends(task, filed)
            events += ended
            young_dates += too_young
            if not too_young:
                settled.append(task)
        await self._reporter.report(events)
        for task in settled:
            self._settle(task)
        return young_dates

    async def _incomplete(self, rows: Sequence[Row]) -> list[TriedTask]:
        """Return the tasks that have earlier tries without a logged end."""
        tasks = []
        for row in rows:
            try:
                task = TriedTask.from_row(self._api.deployment, row)
            except EventError:  # gap_filling.py has said so
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
        """Read what the log knows of these tasks and of their runs' beginnings."""
        logged_tries = tries.tries_of(connection, [task.name for task in tasks])
        for task in tasks:
            task.logged_tries = logged_tries.get(task.name, {})
        runs = {task.name[1:3] for task in tasks if task.may_be_made_anew}
        started = read.first_times(connection, self._api.deployment, RUN_STARTS, runs)
        for task in tasks:
            task.run_started = started.get(task.name[1:3])

    async def _ask(self, task: TriedTask) -> ListingPage | None:
        """Return the tries that Airflow has archived, or None if it no longer knows the task."""
        try:
            return await self._api.tries(*task.name[1:])
        except AirflowNotFound:
            return None

    def _collect_ends(self, task: TriedTask, filed: ListingPage | None) -> tuple[list[Event], list[datetime]]:
        """Return the ends to be logged, and those that are too young for that."""
        if filed is None:
            return [], []
        events, young_dates = [], []
        rows, wrong = _by_number(filed.rows)
        for number in sorted(task.lacking & rows.keys()):
            row = rows[number]
            try:
                event = earlier_try_event(
                    self._api.deployment, row, self._clock(), task.uuid_of(number, rows.keys())
                )
                young = _within(moment_of(row, "end_date"), filed.moment)
            except EventError as error:
                wrong = str(error)
                continue
            if young:
                young_dates.append(young)
            elif event and not self._is_forgotten(event):
                events.append(event)
        self._reporter.pass_over({"/".join(map(str, task.name[1:])): wrong} if wrong else {})
        absent = [number for number in task.lacking - rows.keys() if not task.has_end(number)]
        if absent:
            self._pass_over("not_filed", len(absent))
        return events, young_dates

    def _is_forgotten(self, event: Event) -> bool:
        """Return True if the event is older than what the log keeps.
        It was logged, or it is too old to log (as in gap_filling.py)."""
        if self._retention is None or event.time >= self._clock() - self._retention:
            return False
        self._pass_over("expired", 1)
        return True

    def _give_up(self, task: TriedTask, error: AirflowError) -> bool:
        """Return True if a task was asked for often enough. Until then the task holds up the watermark."""
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
    """Return Airflow's archived rows by their try, and the fault of rows that name no try.

    A task that was cleared and has not begun again is among them, without an end, under the same number."""
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
    """Return the moment if hooks' reports from that time may still be on their way, else None."""
    return moment if moment and -CLOCK_SLACK <= now - moment < HOOKS_FIRST else None


def _moment(task: TriedTask, page: ListingPage) -> datetime:
    """Return when Airflow changed the row, or earlier. A watermark at that moment does not pass the row."""
    name = "start_date" if task.row.get("state") == "running" else "end_date"
    return min(moment_of(task.row, name) or page.moment, page.moment)


def _bound(remembered: "OrderedDict[str, None] | OrderedDict[str, int]") -> None:
    while len(remembered) > MAX_REMEMBERED:
        remembered.popitem(last=False)
