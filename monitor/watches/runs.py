"""The watches of runs: late, missing, and stuck.

`find_late` finds runs that exist and have not begun. Airflow has made the run, and its tasks wait for the
scheduler. A run that waits for another run of its DAG is not late. Neither is a backfill's run, because a
backfill makes all its runs at once.

`Missing` finds DAGs without the run that Airflow's own schedule calls for. Odd on purpose: for a DAG without
catchup, Airflow moves `next_run_after` to the latest moment of the schedule, run or no run. It does so each
time it parses the file. So with a dead scheduler no run is ever overdue by more than the schedule's own
step. So the watch counts the time since which a run was due without a pause.

A DAG with a queued or running run is not missing one. The next run may have to wait for it (max_active_runs,
a backlog, `@continuous`). Manual runs change nothing: they neither count as the due run nor end a reported
finding.

`find_stuck` finds runs that go on for longer than they may, or than is usual in the DAG's own history. A DAG
with too few good runs has a bound of its own (`without_history`). Without it, a run that hangs in a new DAG
would not be reported.

`HumanWaits` measures how long a run waited for a person's answer (human in the loop, Airflow 3.1 and newer).
That time does not count for `find_stuck`. The task is `deferred` before 3.3 and `awaiting_input` from then
on. A task is deferred for other reasons too, so Airflow's listing of the questions decides."""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.airflow.client import AirflowApi
from monitor.database.statements import Row
from monitor.errors import AirflowNotFound, AirflowRefused, EventError
from monitor.events import from_watches
from monitor.events.event import Event
from monitor.events.from_airflow import Row as ApiRow
from monitor.events.from_airflow import moment_of
from monitor.events.from_watches import Bound
from monitor.events.identity import run_key, stamp
from monitor.rules.model import Watch
from monitor.watches.findings import Finding, moment_in
from monitor.watches.observation import BACKFILL, SCHEDULED, ActiveRun, Observation, tags_of
from monitor.watches.thresholds import WatchSelector, unusual_after

LATE = "windsock.run.late"
LATE_AFTER = timedelta(minutes=15)  # where the watch names none: a healthy scheduler takes seconds


def find_late(observation: Observation, choice: WatchSelector) -> list[Finding]:
    """Return each DAG's late run: the one that was reported, or the one that waits longest."""
    found = []
    for dag_id, runs in observation.active.queued.items():
        dag = observation.dag_at_work(dag_id)
        watch = choice.find_for_dag(dag_id, tags_of(dag)) if dag else None
        if dag is None or watch is None or observation.active.running.get(dag_id):
            continue
        reported = observation.open_found(LATE, dag_id)
        late_runs = list(_late_runs(observation, watch, runs, dag["seen_at"]))
        chosen = min(
            late_runs, key=lambda late_run: (late_run[0].found != reported, late_run[1]), default=None
        )
        if chosen:
            found.append(chosen[0])
    return found


def _late_runs(
    observation: Observation, watch: Watch, runs: Sequence[ActiveRun], seen_at: datetime | None
) -> Iterator[tuple[Finding, datetime]]:
    after = LATE_AFTER if watch.after is None else watch.after
    for run in runs:
        # A run that is cleared, or of a DAG that was paused until now, waits from then on.
        moments = [moment for moment in (run.run_after, run.queued_at, seen_at) if moment]
        if run.run_type == BACKFILL or not moments:
            continue
        due = max(moments)
        key = run_key(run.dag_id, run.run_id, None, run.queued_at)
        if observation.is_ripe(due + after, after) or key == observation.open_found(LATE, run.dag_id):
            yield _late_finding(observation, watch, run, due, key, after), due


def _late_finding(
    observation: Observation, watch: Watch, run: ActiveRun, due: datetime, key: str, after: timedelta
) -> Finding:
    def build() -> Event:
        return from_watches.late(observation.watch_context(watch), run.named, due, run.queued_at, after)

    return Finding(LATE, run.dag_id, key, build)


MISSING = "windsock.run.missing"
MISSING_AFTER = timedelta(minutes=15)  # where the watch names none: a scheduler may be replaced meanwhile
BY_SCHEDULE = (SCHEDULED,)
"""The types of runs that are an answer to a schedule: nothing that is triggered, and no backfill."""


@dataclass
class _Due:
    """A run is due, and has been without a pause."""

    expected: datetime
    """The first moment of the schedule that had none: its name."""
    since: datetime
    """The moment since which the run is waited for."""
    listed: datetime
    """`next_run_after` as it was at the last look."""
    is_answered: bool = False
    """A run came, and the list, which is a minute old at times, does not show it yet."""

    @classmethod
    def new(cls, observation: Observation, dag_id: str, dag: Row) -> "_Due":
        """Return a DAG's due run.
        The wait for what is new, unpaused or scheduled otherwise begins at `seen_at`."""
        reported = observation.open_found(MISSING, dag_id)
        expected = moment_in(reported) if reported else dag["next_run_after"]
        return cls(expected, max(expected, dag["seen_at"] or expected), dag["next_run_after"])

    def look(self, observation: Observation, dag_id: str, listed: datetime) -> None:
        """Take in what came since the last look."""
        moved, self.listed = listed != self.listed, listed
        if self._came(observation, dag_id):
            self.expected, self.since, self.is_answered = listed, observation.now, not moved
        elif moved and self.is_answered:
            self.expected, self.since, self.is_answered = listed, max(listed, self.since), False

    def _came(self, observation: Observation, dag_id: str) -> bool:
        starts = [observation.run_starts.get((dag_id, kind)) for kind in BY_SCHEDULE]
        active = [run.run_after for run in observation.active.runs_of(dag_id) if run.run_type in BY_SCHEDULE]
        return any(moment >= self.since for moment in starts if moment) or any(
            moment >= self.expected for moment in active if moment and not self.is_answered
        )

    def is_missing(self, observation: Observation, dag_id: str, after: timedelta) -> bool:
        if self.is_answered:
            return False
        if observation.open_found(MISSING, dag_id) == stamp(self.expected):
            return True
        if observation.active.runs_of(dag_id):
            self.since = observation.now  # from the end of what it waits for it has its time anew
            return False
        return observation.is_ripe(self.since + after, after)


class Missing:
    """The watch of missing runs of one deployment. It remembers since when runs are due."""

    def __init__(self) -> None:
        self._due: dict[str, _Due] = {}

    def findings(self, observation: Observation, choice: WatchSelector) -> list[Finding]:
        """Return the DAGs whose run is missing."""
        due_runs, found = {}, []
        for dag_id, dag in observation.dags.items():
            watch = choice.find_for_dag(dag_id, tags_of(dag)) if observation.dag_at_work(dag_id) else None
            listed = dag["next_run_after"]
            if watch is None or listed is None or listed > observation.now:
                continue
            due = self._due.get(dag_id) or _Due.new(observation, dag_id, dag)
            due.look(observation, dag_id, listed)
            due_runs[dag_id] = due
            if due.is_missing(observation, dag_id, _tolerance_of(watch)):
                found.append(_missing_finding(observation, watch, dag_id, dag, due.expected))
        self._due = due_runs
        return found


def _tolerance_of(watch: Watch) -> timedelta:
    return MISSING_AFTER if watch.after is None else watch.after


def _missing_finding(
    observation: Observation, watch: Watch, dag_id: str, dag: Row, expected: datetime
) -> Finding:
    def build() -> Event:
        return from_watches.missing(
            observation.watch_context(watch), dag_id, expected, _tolerance_of(watch), dag["schedule"]
        )

    return Finding(MISSING, dag_id, stamp(expected), build)


STUCK = "windsock.run.stuck"
DurationHistory = Mapping[str, Sequence[timedelta]]
"""The durations of the last successful runs of the DAGs in question, the latest first."""
WaitTimes = Mapping[str, timedelta | None]
"""The time that each run, by its key, waited for a person. None means that it is not known yet."""


@dataclass(frozen=True)
class LongRun:
    """A run that goes on for longer than its bound."""

    run: ActiveRun
    start: datetime
    bound: Bound
    watch: Watch
    is_reported: bool

    @property
    def key(self) -> str:
        """The key of the run's occurrence."""
        return run_key(self.run.dag_id, self.run.run_id, self.start, None)


def list_dags_in_question(observation: Observation, choice: WatchSelector) -> list[str]:
    """Return the DAGs whose history is needed: those with a run that is longer than the floor."""
    return [
        dag_id
        for dag_id, runs in observation.active.running.items()
        if (watch := _watch(observation, choice, dag_id))
        and watch.after is None
        and any(run.start_date and observation.now - run.start_date >= watch.floor for run in runs)
    ]


def long_runs(observation: Observation, choice: WatchSelector, history: DurationHistory) -> list[LongRun]:
    """Return every run that is longer than its bound.
    Those that were reported come first, then the longest first."""
    found: list[LongRun] = []
    for dag_id, runs in observation.active.running.items():
        watch = _watch(observation, choice, dag_id)
        if watch and (bound := _bound(watch, history.get(dag_id))):
            found += _longer(observation, watch, runs, bound)
    return sorted(found, key=lambda long_run: (not long_run.is_reported, long_run.start))


def find_stuck(observation: Observation, runs: Sequence[LongRun], waited: WaitTimes) -> list[Finding]:
    """Return each DAG's stuck run: the one that was reported, or else the first in order."""
    found: dict[str, Finding] = {}
    for long_run in runs:
        away = timedelta(0) if long_run.is_reported else waited.get(long_run.key)
        if away is None or not (long_run.is_reported or _is_ripe(observation, long_run, away)):
            continue
        found.setdefault(long_run.run.dag_id, _stuck_finding(observation, long_run))
    return list(found.values())


def _watch(observation: Observation, choice: WatchSelector, dag_id: str) -> Watch | None:
    dag: Row | None = observation.dag_at_work(dag_id)
    return choice.find_for_dag(dag_id, tags_of(dag)) if dag else None


def _bound(watch: Watch, history: Sequence[timedelta] | None) -> Bound | None:
    if watch.after is not None:
        return Bound(watch.after)
    if history is None:  # none of its runs is longer than the floor
        return None
    usual = unusual_after(history, watch.floor, watch.spreads)
    return usual or Bound(max(watch.floor, watch.without_history), is_without_history=True)


def _longer(
    observation: Observation, watch: Watch, runs: Sequence[ActiveRun], bound: Bound
) -> Iterator[LongRun]:
    reported = observation.open_found(STUCK, runs[0].dag_id)
    for run in runs:
        if run.start_date is None:
            continue
        long_run = LongRun(run, run.start_date, bound, watch, False)
        if long_run.key == reported:
            yield LongRun(run, run.start_date, bound, watch, True)
        elif _is_ripe(observation, long_run, timedelta(0)):
            yield long_run


def _is_ripe(observation: Observation, long_run: LongRun, away: timedelta) -> bool:
    return observation.is_ripe(long_run.start + away + long_run.bound.after, long_run.bound.after)


def _stuck_finding(observation: Observation, long_run: LongRun) -> Finding:
    def build() -> Event:
        return from_watches.stuck(
            observation.watch_context(long_run.watch), long_run.run.named, long_run.start, long_run.bound
        )

    return Finding(STUCK, long_run.run.dag_id, long_run.key, build)


FIRST_VERSION = (3, 1)
MAX_ASKED = 20  # runs at one look, a request each. The others are not stuck before they were asked about
TASK_ENDS = ("success", "failed", "skipped", "upstream_failed", "removed")

logger = logging.getLogger(__name__)


class HumanWaits:
    """The time that runs of one Airflow waited for people."""

    def __init__(self, api: AirflowApi) -> None:
        self._api = api
        self._is_refused = False

    async def measure(self, runs: Sequence[LongRun], now: datetime) -> WaitTimes:
        """Return the time that each of these runs waited. Raises AirflowError."""
        new = [long_run for long_run in runs if not long_run.is_reported]
        if not new or not await self._has_questions():
            return {long_run.key: timedelta(0) for long_run in new}
        return {long_run.key: await self._measure_run(long_run, now) for long_run in new[:MAX_ASKED]}

    async def _has_questions(self) -> bool:
        found = re.match(r"(\d+)\.(\d+)", await self._api.version())
        return found is None or (int(found[1]), int(found[2])) >= FIRST_VERSION

    async def _measure_run(self, long_run: LongRun, now: datetime) -> timedelta | None:
        try:
            rows = await self._api.human_questions(long_run.run.dag_id, long_run.run.run_id)
        except AirflowNotFound:  # it is gone, and no longer stuck at the next look
            return None
        except AirflowRefused as refused:
            self._say(refused)
            return timedelta(0)
        return _together(_spans(rows, long_run.start, now))

    def _say(self, refused: AirflowRefused) -> None:
        if not self._is_refused:
            self._is_refused = True
            logger.warning(
                "%s: a run that waits for a person may be reported as stuck: %s",
                self._api.deployment,
                refused,
            )


def _spans(rows: Sequence[ApiRow], start: datetime, now: datetime) -> list[tuple[datetime, datetime]]:
    """Return the time span in which each question was open."""
    spans = []
    for row in rows:
        try:
            asked_at, answered = moment_of(row, "created_at"), moment_of(row, "responded_at")
            task = row.get("task_instance")
            if answered is None and isinstance(task, dict) and task.get("state") in TASK_ENDS:
                answered = moment_of(task, "end_date")
        except EventError as error:
            logger.warning("a question to a person is passed over: %s", error)
            continue
        if asked_at is not None:
            spans.append((max(asked_at, start), min(answered or now, now)))
    return spans


def _together(spans: Iterable[tuple[datetime, datetime]]) -> timedelta:
    """Return how long at least one of the spans was open."""
    total, upto = timedelta(0), None
    for begin, end in sorted(spans):
        new_begin = begin if upto is None else max(begin, upto)
        if end > new_begin:
            total += end - new_begin
            upto = end
    return total
