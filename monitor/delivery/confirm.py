"""The confirmation by Airflow that a reported failure or recovery is real.

`ask` and `ask_all` ask Airflow about reports before a notification is sent. A run's hooks fire before
Airflow commits, so right after a report Airflow may still say `running`. That answer means `PENDING` and is
no contradiction, because the question came early. A report may also have become untrue since, because people
clear runs and mark them.

Only reports of runs and tasks are confirmed. Findings of watches and import errors are the monitor's own
observations. A run counts as deleted only if Airflow itself says so of this very run (`AirflowNotFound`).
Any other 404 is no answer of Airflow's.

`combine_answers` combines Airflow's answers to several reports into the events to send now, or into an
outcome: to wait, or to drop the delivery. A single report is asked about for long, because the scheduler may
have died between its hook and its commit. The same occurrence then ends later and is reported under the same
id. That later report is a duplicate, so this delivery has to notify of it. If one of several reports stays
open, the others wait for the grace at most. The open report is then sent with them and marked.

If Airflow contradicts every report, the delivery ends as superseded without a notification. settle.py takes
the contradicted failures back from their incidents.

`Recoveries` confirms the success that closed an incident, whether or not it is notified. A success closes
its incident at once and may be untrue, because a hook fires before the commit and an authorized sender can
report anything. If Airflow does not confirm the success, the incident is opened again with everything that
it had gathered. The same holds for a success that is true, and older than the failures by Airflow's own
dates: its sender may have named any (`check_order`). If Airflow cannot be asked, the success stands."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from monitor.clock import Clock
from monitor.concurrency import OnDefect, WakeSignal, repeat_look
from monitor.database.engine import Database
from monitor.database.pubsub import DELIVERY, signal
from monitor.delivery.retry import look_again
from monitor.errors import AirflowError, AirflowNotFound
from monitor.event_log import append, read
from monitor.events.data import DELETED, MOMENT, TEST, DagRunData, TaskInstanceData
from monitor.events.event import Event
from monitor.events.from_airflow import RUN_TIMES, run_type_of
from monitor.events.identity import run_key
from monitor.events.reports import find_change_time
from monitor.notifications import incident_transitions, incidents
from monitor.notifications.engine import Engine
from monitor.notifications.incident_order import Order, order_of_run, order_of_task
from monitor.notifications.incidents import Incident
from monitor.notifications.outbox.records import DeliveryOutcome, State


class AirflowReader(Protocol):
    """The part of Airflow's REST API that delivery reads.
    Each method raises AirflowError, or AirflowNotFound for an unknown run."""

    async def dag_run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return the run as Airflow has it."""

    async def task_instances(
        self, dag_id: str, run_id: str, state: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        """Return the task instances of a run, all or those in one of these states."""

    async def log_tail(
        self, dag_id: str, run_id: str, task_id: str, map_index: int, try_number: int, lines: int
    ) -> list[str]:
        """Return the last lines of a try's log."""

    async def runs_of(
        self, dag_id: str, until: datetime, state: Sequence[str], limit: int
    ) -> list[dict[str, Any]]:
        """Return a DAG's latest runs that had begun by then, newest first."""

    async def asset_events_of(self, dag_id: str, run_id: str, limit: int) -> list[dict[str, Any]]:
        """Return the first asset events that a run made."""


CONFIRM_SECONDS = 60.0  # for all questions about one notification. After that, Airflow counts as silent
ASKED_AT_ONCE = 5  # of them: Airflow has other work
UNFINISHED_RUN = ("queued", "running")
UNFINISHED_TASK = (None, "scheduled", "queued", "running", "deferred", "restarting")
ON_THE_WAY = ("running", "up_for_retry")
"""States that are left again: that Airflow says a later one is no contradiction."""

Row = Mapping[str, Any]


class Confirmation(Enum):
    """The kinds of Airflow's answers about a report."""

    CONFIRMED = "so"
    CONTRADICTED = "not so"
    PENDING = "not yet"
    UNREACHABLE = "no answer"


@dataclass(frozen=True)
class ConfirmationResult:
    """The answer of Airflow about a report, with the reason unless the report is confirmed."""

    confirmation: Confirmation
    why: str = ""
    changed_at: datetime | None = field(default=None, compare=False)
    """The moment of the change by Airflow. None if Airflow was not asked, or does not say."""
    dated: "DatedReport | None" = field(default=None, compare=False)
    """The report with Airflow's dates. None if Airflow was not asked, or does not confirm the report."""


@dataclass(frozen=True)
class DatedReport:
    """A confirmed report with the dates that Airflow's own rows have, and its place among the DAG's runs."""

    event: Event
    order: Order


CONFIRMED = ConfirmationResult(Confirmation.CONFIRMED)
GONE = ConfirmationResult(Confirmation.CONTRADICTED, "Airflow does not know this run; it was deleted")
IS_TEST = ConfirmationResult(
    Confirmation.CONTRADICTED, "the run is a test (airflow dags test), no production"
)


async def ask(airflow: AirflowReader | None, event: Event) -> ConfirmationResult:
    """Ask Airflow about an event. The report stands if no Airflow can be asked."""
    data = event.data
    if airflow is None or not isinstance(data, (DagRunData, TaskInstanceData)):
        return CONFIRMED
    try:
        if isinstance(data, DagRunData):
            run = await airflow.dag_run(data.dag_id, data.run_id)
            answer = _compare_run(run, data)
            if answer.confirmation is not Confirmation.CONFIRMED or data.state == DELETED:
                return answer
            return replace(answer, dated=_date_run(event, data, run))
        answer, row = await _compare_task(airflow, data)
        if answer.confirmation is not Confirmation.CONFIRMED:
            return answer
        run = await airflow.dag_run(data.dag_id, data.run_id)
        if run_type_of(run) == TEST:
            return IS_TEST
        return replace(answer, dated=_date_task(event, data, row, run))
    except AirflowNotFound:
        return CONFIRMED if data.state == DELETED else GONE
    except (AirflowError, ValueError) as error:
        return ConfirmationResult(Confirmation.UNREACHABLE, str(error))


async def ask_all(apis: Mapping[str, AirflowReader], events: Sequence[Event]) -> list[ConfirmationResult]:
    """Ask each event's Airflow about it."""
    if not any(apis.get(event.deployment) for event in events):  # then no clock is needed for the answers
        return [CONFIRMED for _ in events]
    slots = asyncio.Semaphore(ASKED_AT_ONCE)

    async def one(event: Event) -> ConfirmationResult:
        async with slots:
            return await ask(apis.get(event.deployment), event)

    async def together() -> list[ConfirmationResult]:
        return await asyncio.gather(*map(one, events))

    try:
        return await asyncio.wait_for(together(), CONFIRM_SECONDS)
    except (TimeoutError, asyncio.TimeoutError):
        late = f"Airflow did not answer {len(events)} questions within {CONFIRM_SECONDS:.0f} s"
        return [ConfirmationResult(Confirmation.UNREACHABLE, late) for _ in events]


def _compare_run(run: Row, reported: DagRunData) -> ConfirmationResult:
    """Compare a report with Airflow's run. Raise ValueError if the answer is not a run."""
    if reported.state == DELETED:
        return ConfirmationResult(
            Confirmation.CONTRADICTED, f"Airflow has the run; it says {run.get('state')}"
        )
    if run_type_of(run) == TEST:
        return IS_TEST
    state = run.get("state")
    start, queued = (MOMENT.validate_python(run.get(name)) for name in ("start_date", "queued_at"))
    if run_key(reported.dag_id, reported.run_id, start, queued) != run_key(
        reported.dag_id, reported.run_id, reported.start_date, reported.queued_at
    ):
        return ConfirmationResult(
            Confirmation.CONTRADICTED, f"the run was cleared and began anew; Airflow says {state}"
        )
    return _compare_states(state, reported.state, UNFINISHED_RUN, run)


REPORT_LAG = timedelta(minutes=1)
"""The difference within which a hook's start or end is the same moment as Airflow's. Other listeners may have
kept the hook from being called, and a task's process takes a start of its own."""


def _date_run(event: Event, reported: DagRunData, run: Row) -> DatedReport:
    """Return the report with the row's dates. Raises ValueError if a date of the row is none."""
    dates = {name: _moment(run, name, getattr(reported, name)) for name in RUN_TIMES}
    run_type = run_type_of(run) if "run_type" in run else reported.run_type
    changes = {**dates, **_dates_by_clock(reported, run), "run_type": run_type}
    dated, data = _with_dates(event, reported, changes)
    return DatedReport(dated, order_of_run(dated, data))


def _date_task(event: Event, reported: TaskInstanceData, row: Row, run: Row) -> DatedReport:
    """Return the report with the rows' dates. Raises ValueError if a date of a row is none."""
    dated, data = _with_dates(event, reported, _dates_by_clock(reported, row))
    return DatedReport(
        dated, order_of_task(dated, data, _moment(run, "logical_date", None), run_type_of(run))
    )


RunOrTask = TypeVar("RunOrTask", DagRunData, TaskInstanceData)


def _with_dates(event: Event, report: RunOrTask, changes: Mapping[str, Any]) -> tuple[Event, RunOrTask]:
    data = report.model_copy(update=changes)
    time = find_change_time(data) or event.time
    return replace(event, time=_same_or(time, event.time), data=data), data


def _dates_by_clock(data: DagRunData | TaskInstanceData, row: Row) -> dict[str, datetime | None]:
    dates = {}
    for name in ("start_date", "end_date"):
        reported = getattr(data, name)
        moment = _moment(row, name, reported)
        dates[name] = _same_or(moment, reported) if moment and reported else moment
    return dates


def _same_or(moment: datetime, reported: datetime) -> datetime:
    return reported if abs(moment - reported) <= REPORT_LAG else moment


def _moment(row: Row, name: str, unknown: datetime | None) -> datetime | None:
    """Return a date of a row, or `unknown` if this Airflow does not give it. Raise ValueError."""
    return MOMENT.validate_python(row[name]) if name in row else unknown


async def _compare_task(airflow: AirflowReader, reported: TaskInstanceData) -> tuple[ConfirmationResult, Row]:
    """Compare a report with Airflow's tries.
    Return the row as well, empty if none matches.

    Raise ValueError for a date that is none."""
    for states in ((reported.state,), ()):  # in most cases the first, short list has it
        rows = await airflow.task_instances(reported.dag_id, reported.run_id, states)
        for row in filter(_is_of(reported), rows):
            if _is_same_try(row, reported):
                return _compare_states(row.get("state"), reported.state, UNFINISHED_TASK, row), row
            if not states:
                return _judge_other_try(row, reported), {}
    return ConfirmationResult(Confirmation.CONTRADICTED, "Airflow does not know this task any more"), {}


def _is_of(reported: TaskInstanceData) -> Callable[[Row], bool]:
    return lambda row: (
        (row.get("task_id"), row.get("map_index", -1)) == (reported.task_id, reported.map_index)
    )


def _is_same_try(row: Row, reported: TaskInstanceData) -> bool:
    is_same_number = row.get("try_number") == reported.try_number
    ti_id = row.get("id", reported.ti_id)
    if reported.ti_id is None or ti_id is None:
        return is_same_number
    # The UUID names the try. One that failed while it was queued goes on under the next number.
    return bool(ti_id == reported.ti_id) and (is_same_number or reported.state not in ON_THE_WAY)


def _judge_other_try(row: Row, reported: TaskInstanceData) -> ConfirmationResult:
    if reported.state in ON_THE_WAY:
        return CONFIRMED
    text = f"try {row.get('try_number')} is {row.get('state')}"
    return ConfirmationResult(
        Confirmation.CONTRADICTED, f"the task was cleared and ran anew; Airflow says {text}"
    )


def _compare_states(
    airflow_state: Any, logged_state: str, unfinished: tuple[str | None, ...], row: Row
) -> ConfirmationResult:
    """Compare the states of the report and of Airflow's row. Raises ValueError if the row's date is none."""
    if airflow_state == logged_state:
        date = row.get("start_date" if logged_state == "running" else "end_date")
        return ConfirmationResult(Confirmation.CONFIRMED, changed_at=MOMENT.validate_python(date))
    if airflow_state in unfinished and airflow_state != "up_for_retry":
        return ConfirmationResult(
            Confirmation.PENDING, f"reported {logged_state}, and Airflow still says {airflow_state}"
        )
    if logged_state in ON_THE_WAY:
        return CONFIRMED
    return ConfirmationResult(Confirmation.CONTRADICTED, f"Airflow says {airflow_state}")


OUT_OF_ORDER = ConfirmationResult(
    Confirmation.CONTRADICTED, "by Airflow's own dates it is older than the failure, or of another run"
)


def check_order(answer: ConfirmationResult, incident: Incident) -> ConfirmationResult:
    """Return the answer about a report that closed an incident.

    A true report closes it only if Airflow's dates, not its sender's, say that it came after the failures.
    """
    dated = answer.dated
    if dated is None or incident_transitions.is_ended_by(incident, dated.event, dated.order):
        return answer
    return OUT_OF_ORDER


SETTLE_FOR = timedelta(days=1)  # longer than any restart of Airflow. Then the reported run never existed
SHOWN = 3  # reasons that are shown, of many


@dataclass(frozen=True)
class ConfirmedEvents:
    """The events that may be reported, by their place among those that were asked about."""

    confirmed: tuple[int, ...]
    unconfirmed: str | None = None
    """The reason to mark the notification as unconfirmed."""


def combine_answers(
    answers: Sequence[ConfirmationResult], since: datetime, now: datetime, grace: timedelta
) -> ConfirmedEvents | DeliveryOutcome:
    """Return the events to send now, or the outcome: to wait, or superseded if Airflow denies them all.

    - `since`: the moment at which the delivery was due.
    - `grace`: the wait for an Airflow that cannot be asked.
    """
    age = now - since
    so, not_yet, silent = (
        _places(answers, confirmation)
        for confirmation in (Confirmation.CONFIRMED, Confirmation.PENDING, Confirmation.UNREACHABLE)
    )
    if silent and age < grace:
        return _wait(f"waiting for Airflow to confirm: {_why(answers, silent)}", since, now, since + grace)
    if not_yet and (age < grace or not so + silent) and age < SETTLE_FOR:
        return _wait(f"{_why(answers, not_yet)}: asking again", since, now)
    if not so + silent:
        reason = _why(answers, not_yet) if not_yet else _why(answers, range(len(answers)))
        late = "a day after the report: " if not_yet else ""
        return DeliveryOutcome(State.SUPERSEDED, f"superseded: {late}{reason}")
    confirmed = tuple(sorted(so + silent + not_yet))
    return ConfirmedEvents(confirmed, _why(answers, silent + not_yet) or None)


def _places(answers: Sequence[ConfirmationResult], confirmation: Confirmation) -> list[int]:
    return [place for place, answer in enumerate(answers) if answer.confirmation is confirmation]


def _why(answers: Sequence[ConfirmationResult], places: Sequence[int]) -> str:
    reasons = list(dict.fromkeys(answers[place].why for place in places))
    more = f"; and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
    return "; ".join(reasons[:SHOWN]) + more


def _wait(reason: str, since: datetime, now: datetime, until: datetime | None = None) -> DeliveryOutcome:
    again = look_again(since, now)
    return DeliveryOutcome(State.PENDING, reason, min(again, until) if until else again)


EVERY = 2.0  # seconds. People may look at an incident meanwhile that is closed by mistake
AT_ONCE = 50  # incidents whose events are read, and asked about, together

logger = logging.getLogger(__name__)


class Recoveries:
    """The confirmation of recoveries. `run` is the background task, and `look` is one turn of it."""

    def __init__(
        self,
        database: Database,
        apis: Mapping[str, AirflowReader],
        engine: Engine,
        delivery: WakeSignal,
        clock: Clock,
        on_defect: OnDefect,
    ) -> None:
        self._database = database
        self._apis = apis
        self._engine = engine
        self._delivery = delivery
        self._clock = clock
        self._on_defect = on_defect

    async def run(self) -> None:
        """Confirm recoveries again and again, until canceled."""
        await repeat_look(self.look, EVERY, "no recovery is confirmed", self._on_defect)

    async def look(self) -> None:
        """Ask about every recovery that is due. Raises SQLAlchemyError."""
        now = self._clock()
        due = await self._database.read(lambda connection: _due(connection, now))
        if not due:
            return
        answers = await ask_all(self._apis, [event for _, event in due if event is not None])
        left = iter(answers)
        found = [(incident, CONFIRMED_FORGOTTEN if event is None else next(left)) for incident, event in due]
        if await self._database.write(lambda connection: self._take_in(connection, found, now)):
            self._delivery.set()

    def _take_in(
        self, connection: Connection, found: Sequence[tuple[Incident, ConfirmationResult]], now: datetime
    ) -> bool:
        """Take in Airflow's answers under the log's lock, so that nothing joins meanwhile.
        Return True if anything is to be sent."""
        append.lock(connection)
        as_it_is = incidents.find_all(connection, (found_incident.id for found_incident, _ in found))
        called_for = False
        for asked_incident, answer in found:
            incident = as_it_is.get(asked_incident.id)
            # Another replica, or a failure, may have opened it again: then another report closes it.
            if (
                incident is None
                or incident.closed_seq != asked_incident.closed_seq
                or incident.confirm_at is None
            ):
                continue
            called_for |= self._settle(connection, incident, answer, now)
        if called_for:
            signal(connection, DELIVERY)
        return called_for

    def _settle(
        self, connection: Connection, incident: Incident, answer: ConfirmationResult, now: datetime
    ) -> bool:
        answer = check_order(answer, incident)
        since = incident.confirm_since or now
        is_late = now - since >= SETTLE_FOR
        if answer.confirmation is Confirmation.CONFIRMED or (
            answer.confirmation is Confirmation.UNREACHABLE and is_late
        ):
            incidents.confirm_end(connection, incident)
            return False
        if answer.confirmation is not Confirmation.CONTRADICTED and not is_late:
            incidents.confirm_later(connection, incident, look_again(since, now))
            return False
        logger.warning("incident %d is open again: %s", incident.id, answer.why)
        again = incident_transitions.reopen(connection, incident, answer.why, now)
        event = read.find_event(connection, again.incident.last_seq)
        if again.is_recovery_notified and event is not None:
            self._engine.notify_reopened(connection, again.incident, event, now)
        return True


CONFIRMED_FORGOTTEN = ConfirmationResult(Confirmation.CONFIRMED, "the log has forgotten the report")


def _due(connection: Connection, now: datetime) -> list[tuple[Incident, Event | None]]:
    found = incidents.list_due_confirmations(connection, now, AT_ONCE)
    return [(incident, read.find_event(connection, incident.closed_seq)) for incident in found]
