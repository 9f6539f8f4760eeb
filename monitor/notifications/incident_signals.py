"""The meaning of an event for an incident (docs/notifications.md).

`signal_of` says whether the event reports that something is wrong, or that it no longer is, by two tables of
event types. `list_overtaken_keys` adds the incidents of watches that a run ends when it begins or ends.
incident_transitions.py acts on both.

`Order` is the order of a DAG's runs, which says which success answers which failure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from sqlalchemy import Connection

from monitor.event_log.projections import runs
from monitor.event_log.projections.runs import RunName
from monitor.events.data import DagRunData, RunMissingData, TaskInstanceData
from monitor.events.event import Event
from monitor.events.identity import DIGEST_DIGITS, digest

LATE, MISSING, STUCK = "windsock.run.late", "windsock.run.missing", "windsock.run.stuck"
SCHEDULED = "scheduled"
"""The type of the runs that answer a DAG's schedule. A triggered run or a backfill does not."""


IMPORT_ERROR = "import_error:"
"""Before the keys of import errors."""
MAX_KEY = 300  # characters: the column's


class Meaning(str, Enum):
    """The meaning of an event for an incident."""

    FAILURE = "failure"
    RECOVERY = "recovery"


@dataclass(frozen=True)
class Signal:
    """The meaning of an event for the incident of this key."""

    meaning: Meaning
    key: str
    title: str
    """The fault in a few words."""


Build = Callable[[Event], tuple[str, str]]
"""An event's key and title."""


def _dag(event: Event) -> tuple[str, str]:
    return f"dag:{event.get('dag_id')}", f"{event.get('dag_id')} fails"


def _task(event: Event) -> tuple[str, str]:
    index = event.get("map_index")
    mapped = "" if index in (None, -1) else f"[{index}]"
    name = f"{event.get('dag_id')}/{event.get('task_id')}{mapped}"
    return f"task:{name}", f"{name} fails"


def _import_error(event: Event) -> tuple[str, str]:
    filename = str(event.get("filename"))
    return import_error_key(event.get("bundle_name"), filename), import_error_title(filename)


def import_error_key(bundle_name: str | None, path: str) -> str:
    """Return the incident key of an import error, by bundle and path within it.
    A hook knows only the whole path. Then incident_transitions.py finds out which file that is."""
    return _bound_key(
        f"{IMPORT_ERROR}{path}" if bundle_name is None else f"{IMPORT_ERROR}{bundle_name}:{path}"
    )


def import_error_title(path: str) -> str:
    """Return the title of an import error's incident."""
    return f"{path} cannot be imported"


def _run_watch(event: Event) -> tuple[str, str]:
    suffix = event.type.rpartition(".")[2]
    return run_watch_key(event.type, event), f"a run of {event.get('dag_id')} is {suffix}"


def run_watch_key(watch: str, event: Event) -> str:
    """Return the incident key of a run's finding.
    A missing run has no name, so the incident is its DAG's, and the moment of the schedule says which run
    answers it (incident_signals.py). A late or stuck run has an incident of its own."""
    run = "" if watch == MISSING else f"/{event.get('run_id')}"
    return f"{watch}:{event.get('dag_id')}{run}"


def _asset_watch(event: Event) -> tuple[str, str]:
    suffix = event.type.rpartition(".")[2]
    return f"windsock.asset:{event.asset_uri}", f"{event.asset_uri} is {suffix}"


def _auto_paused(event: Event) -> tuple[str, str]:
    return f"auto_paused:{event.get('dag_id')}", f"{event.get('dag_id')} was paused by Airflow"


def _airflow(event: Event) -> tuple[str, str]:
    return "airflow", f"Airflow {event.deployment} cannot be reached"


def _component(event: Event) -> tuple[str, str]:
    name = str(event.get("component"))
    return f"component:{name}", f"the {name.replace('_', '-')} of Airflow {event.deployment} does not run"


def _mail(_event: Event) -> tuple[str, str]:
    return "mail", "no mail can be sent"


_FAILURES: dict[str, Build] = {
    "airflow.dag_run.failed": _dag,
    "airflow.task_instance.failed": _task,
    "airflow.dag.import_error": _import_error,
    LATE: _run_watch,
    MISSING: _run_watch,
    STUCK: _run_watch,
    "windsock.asset.stale": _asset_watch,
    "windsock.asset.unconsumed": _asset_watch,
    "windsock.dag.auto_paused": _auto_paused,
    "windsock.airflow.unreachable": _airflow,
    "airflow.component.unhealthy": _component,
    "windsock.mail.failing": _mail,
}
_RECOVERIES: dict[str, Build] = {
    "airflow.dag_run.success": _dag,
    "airflow.task_instance.success": _task,
    "airflow.dag.import_error_mended": _import_error,
    "windsock.asset.recovered": _asset_watch,
    "windsock.dag.recovered": _auto_paused,
    "windsock.airflow.recovered": _airflow,
    "airflow.component.recovered": _component,
    "windsock.mail.recovered": _mail,
}
SUCCESSES = ("airflow.dag_run.success", "airflow.task_instance.success")
RUN_BEGINS = "airflow.dag_run.running"
RUN_ENDS = ("airflow.dag_run.success", "airflow.dag_run.failed")


def occasions_of(event_type: str) -> tuple[str, ...]:
    """Return the values of a rule's `notify_on` that events of a type may call for."""
    if event_type in _FAILURES:
        return ("first_failure", "every_failure", "notice")  # notice: an incident knew of it already
    plain = "success" if event_type in SUCCESSES else "notice"
    return ("recovered", plain) if event_type in _RECOVERIES else (plain,)


def signal_of(event: Event) -> Signal | None:
    """Return the event's signal, or None if the event is a notice."""
    if event.get("replaced_by"):  # the file has another error instead
        return None
    for meaning, table in ((Meaning.FAILURE, _FAILURES), (Meaning.RECOVERY, _RECOVERIES)):
        if build := table.get(event.type):
            key, title = build(event)
            return Signal(meaning, _bound_key(key), title)
    return None


def _bound_key(key: str) -> str:
    """Return the key, cut to its bound.
    An asset's URI may be longer. Then a digest of the whole key stands at its end."""
    if len(key) <= MAX_KEY:
        return key
    return f"{key[: MAX_KEY - DIGEST_DIGITS - 1]}:{digest(key)}"


_CHANGING = frozenset((*_FAILURES, *_RECOVERIES, RUN_BEGINS))


def concerns(event_type: str) -> bool:
    """Return True if an event of this type may change any incident at all."""
    return event_type in _CHANGING


def list_incident_keys(event: Event) -> list[str]:
    """Return the keys of all incidents that this event may change."""
    signal = signal_of(event)
    return [*list_overtaken_keys(event), signal.key] if signal else list_overtaken_keys(event)


def list_overtaken_keys(event: Event) -> list[str]:
    """Return the keys of incidents that this event may end without being a recovery.
    A run that begins, begins anew or ends is neither late nor stuck, and a run that the schedule wanted is
    no longer missing."""
    if event.type not in (RUN_BEGINS, *RUN_ENDS):
        return []
    answers = (MISSING,) if event.get("run_type") == SCHEDULED else ()
    return [_bound_key(run_watch_key(watch, event)) for watch in (*answers, LATE, STUCK)]


BACKFILL = "backfill"


@dataclass(frozen=True)
class Order:
    """The place of one run, or of a moment of the schedule, among the runs of its DAG."""

    moment: datetime | None
    """The end of the time that the run is for. None if the run has no logical date."""
    start: datetime | None
    is_backfill: bool = False


@dataclass(frozen=True)
class LatestFailures:
    """The latest failures of an incident, as its row has them."""

    moment: datetime | None = None
    start: datetime | None = None
    undated_start: datetime | None = None
    """The latest start of a run that has no logical date."""

    def include(self, order: Order | None) -> "LatestFailures":
        """Return the latest failures with one more."""
        if order is None:
            return self
        undated = order.start if order.moment is None else None
        return LatestFailures(
            _later(self.moment, order.moment),
            _later(self.start, order.start),
            _later(self.undated_start, undated),
        )

    def merge(self, other: "LatestFailures") -> "LatestFailures":
        """Return the later of both in each respect."""
        return LatestFailures(
            _later(self.moment, other.moment),
            _later(self.start, other.start),
            _later(self.undated_start, other.undated_start),
        )

    def is_answered_by(self, order: Order | None) -> bool:
        """Return True if a success at this place is not older than any of the failures.

        A backfill makes many runs, some of which fail: the success of one answers for its own day only.
        """
        if order is None:
            return True
        if order.moment is None:
            return _is_not_before(order.start, self.start)
        if order.is_backfill and self.moment is not None and order.moment != self.moment:
            return False
        return _is_not_before(order.moment, self.moment) and _is_not_before(order.start, self.undated_start)


def order_of(connection: Connection, event: Event) -> Order | None:
    """Return the place of what the event is about, or None if it has none."""
    data = event.data
    if isinstance(data, DagRunData):
        return order_of_run(event, data)
    if isinstance(data, RunMissingData):
        return Order(data.expected_at, None)
    if isinstance(data, TaskInstanceData):
        return _order_of_task(connection, event, data)
    return None


def latest_of_failures(connection: Connection, events: Iterable[Event]) -> LatestFailures:
    """Return the latest of some failures."""
    latest = LatestFailures()
    for event in events:
        latest = latest.include(order_of(connection, event))
    return latest


def order_of_run(event: Event, data: DagRunData) -> Order:
    """Return a run's place in the order of its DAG's runs."""
    # The logical date of a scheduled run is the beginning of its interval, that of a manual one its own time.
    dates = (data.logical_date, data.logical_date and data.data_interval_end)
    return _order(event, dates, data.start_date or data.queued_at, data.run_type)


def schedule_moment(event: Event, data: DagRunData) -> datetime | None:
    """Return the moment of the schedule that a scheduled run answers."""
    return event.passed(data.run_after or data.data_interval_end or data.queued_at or data.start_date)


def _order_of_task(connection: Connection, event: Event, data: TaskInstanceData) -> Order:
    run = runs.run(connection, RunName(event.deployment, data.dag_id, data.run_id)) or {}
    return order_of_task(event, data, run.get("logical_date"), run.get("run_type"))


def order_of_task(
    event: Event, data: TaskInstanceData, logical_date: datetime | None, run_type: str | None
) -> Order:
    """Return the place of a task in a run that has this logical date and type."""
    # The task's own start: a run that is cleared keeps its name, and its row may be newer than this event.
    return _order(event, (logical_date,), data.start_date, run_type)


def _order(
    event: Event, dates: Iterable[datetime | None], start: datetime | None, run_type: str | None
) -> Order:
    """Return the place of a run that is for these dates.
    It is the latest of the dates that has come, because a sender may name any date. If a run is for a date
    to come, its place is that of its end."""
    known_dates = [date for date in dates if date is not None]
    come = [date for date in known_dates if date <= event.time]
    moment = max(come, default=event.time) if known_dates else None
    return Order(moment, event.passed(start), run_type == BACKFILL)


def _later(first: datetime | None, other: datetime | None) -> datetime | None:
    return max((moment for moment in (first, other) if moment), default=None)


def _is_not_before(moment: datetime | None, latest: datetime | None) -> bool:
    return moment is None or latest is None or moment >= latest
