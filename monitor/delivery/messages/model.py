"""The model that templates render.

`MessageContext` holds everything that a mail may show. `RunChart` shows the recent runs as a small chart,
with bars for HTML and characters for plain text. Each run is readable without its color, because the height
shows the duration and the character below shows the final state.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

Value = str | datetime | timedelta
"""The kinds of a fact's value. A mail shows a moment in the reader's zone, and a duration in words."""


@dataclass(frozen=True)
class Error:
    """The reason of a failure, as far as it is known."""

    type: str | None
    message: str
    """A single line."""
    lines: tuple[str, ...] = ()
    """The end of the traceback or of the log, for reading."""
    lines_from: str = ""
    """The kind of the lines: `Traceback` or `Log`."""

    @property
    def headline(self) -> str:
        """The type and the first line of the error."""
        return ": ".join(part for part in (self.type, self.message) if part)


@dataclass(frozen=True)
class TaskInfo:
    """The latest try of one task instance."""

    task_id: str
    map_index: int
    state: str
    try_number: int = 1
    max_tries: int = 0
    operator: str | None = None
    host: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    error: Error | None = None

    @property
    def name(self) -> str:
        """The task's id, with its index if it is mapped."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"

    @property
    def tries(self) -> str:
        """The number of tries. Airflow counts retries."""
        return f"try {self.try_number} of {max(self.max_tries + 1, self.try_number)}"

    @property
    def duration(self) -> timedelta | None:
        """The duration, or None if a date is missing."""
        return self.end - self.start if self.start and self.end else None


_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+")


@dataclass(frozen=True)
class FailureGroup:
    """The failed instances of one task with the same error. Numbers in its message may differ."""

    tasks: tuple[TaskInfo, ...]

    @property
    def task_id(self) -> str:
        """The task of the group."""
        return self.tasks[0].task_id

    @property
    def index(self) -> str:
        """The first instance's mapped index in brackets, or nothing."""
        return self.tasks[0].name.removeprefix(self.task_id)

    @property
    def headline(self) -> str:
        """The headline of the first error."""
        error = self.tasks[0].error
        return error.headline if error else ""

    @property
    def counted_headline(self) -> str:
        """The headline with its count: `30 × RuntimeError: checksum mismatch`."""
        headline = self.headline
        if len(self.tasks) == 1 or not headline:
            return headline
        are_equal = all(task.error and task.error.headline == headline for task in self.tasks)
        return f"{len(self.tasks)} × {headline}" + ("" if are_equal else " (numbers differ)")

    @property
    def names(self) -> str:
        """The names of the instances: `load[1], [2], … [39]`."""
        first, *others = sorted(self.tasks, key=lambda task: task.map_index)
        indexes = [f"[{task.map_index}]" for task in others]
        shown = indexes if len(indexes) <= 3 else [indexes[0], f"… {indexes[-1]}"]
        return ", ".join((first.name, *shown))


def group_failures(tasks: Sequence[TaskInfo]) -> tuple[FailureGroup, ...]:
    """Group mapped instances by task and error, in the order of the tasks."""
    groups: dict[tuple[str, str], list[TaskInfo]] = {}
    for task in tasks:
        headline = task.error.headline if task.error else ""
        groups.setdefault((task.task_id, _NUMBER.sub("#", headline)), []).append(task)
    return tuple(FailureGroup(tuple(group)) for group in groups.values())


@dataclass(frozen=True)
class RunInfo:
    """A run of a DAG."""

    deployment: str
    dag_id: str
    run_id: str
    state: str
    run_type: str | None = None
    logical_date: datetime | None = None
    queued_at: datetime | None = None
    start: datetime | None = None
    end: datetime | None = None
    message: str | None = None

    @property
    def duration(self) -> timedelta | None:
        """The duration, or None if a date is missing."""
        return self.end - self.start if self.start and self.end else None


@dataclass(frozen=True)
class Fact:
    """A label and its value."""

    label: str
    value: Value


@dataclass(frozen=True)
class Metric:
    """A number that a run gave, and by how much it moved since the last good run."""

    label: str
    value: str
    change: str = ""


@dataclass(frozen=True)
class AssetInfo:
    """An asset that was updated."""

    name: str
    uri: str
    details: tuple[Fact, ...] = ()
    triggered: tuple[str, ...] = ()
    """The runs that the update started, as `dag_id / run_id`."""
    source: str | None = None
    """The task that updated it, as `dag_id / task_id`."""


@dataclass(frozen=True)
class RunDifference:
    """A difference to the last successful run. None means that the value was, or is, missing."""

    label: str
    before: Value | None
    now: Value | None
    note: str = ""
    """The size of the difference: `×1.9`, `+0.0043`."""


@dataclass(frozen=True)
class PastRun:
    """A recent run, for the chart."""

    run_id: str
    state: str
    start: datetime | None
    duration: timedelta | None
    is_this: bool = False

    @property
    def is_good(self) -> bool:
        """True if the run succeeded."""
        return self.state == "success"


@dataclass(frozen=True)
class IncidentInfo:
    """The incident: how long something has been wrong."""

    id: int
    title: str
    failures: int
    """That joined it, the first one too."""
    opened_at: datetime
    """The moment of the first failure."""
    last_at: datetime
    closed_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_reason: str | None = None
    acknowledged_until: datetime | None = None
    assignee: str | None = None
    """The name of the user who has taken the incident over."""
    openings: int = 0
    """The number of recent incidents of the same kind, with this incident. 0 if they were not counted."""

    @property
    def lasted(self) -> timedelta:
        """The time from the opening to the end, or to the latest failure."""
        return (self.closed_at or self.last_at) - self.opened_at


@dataclass(frozen=True)
class EventSummary:
    """An event of several in a mail."""

    event_id: str
    type: str
    at: datetime
    subject: str
    """The heading of the event in a list: the DAG, the asset, the file."""
    what: str
    """A few words: `failed at load: ValueError: …`."""
    mark: str = "·"
    """✗ for what is wrong, ✓ for what is well."""
    run: RunInfo | None = None
    task: TaskInfo | None = None

    @property
    def duration(self) -> timedelta | None:
        """The duration of the task or of the run."""
        return self.task.duration if self.task else self.run.duration if self.run else None


@dataclass(frozen=True)
class ImportTrouble:
    """A file that Airflow could not import."""

    filename: str
    bundle: str | None
    error: Error

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.filename.rpartition("/")[2]


@dataclass(frozen=True)
class WatchInfo:
    """The finding of a watch."""

    what: str
    """A single sentence."""
    kind: str
    """late, missing, stuck, stale, unconsumed, unhealthy, unreachable, failing, recovered."""
    since: datetime | None = None
    name: str | None = None
    """The watch's, in the rules file."""
    facts: tuple[Fact, ...] = ()
    advice: str | None = None
    """The remedy, if it is always the same."""


@dataclass(frozen=True)
class MessageContext:
    """The facts that a mail may report. A fact that is unknown, or not of this kind of event, is empty."""

    event_id: str
    event_type: str
    deployment: str
    subject: str
    """The event's own: what it is about."""
    at: datetime | None = None
    kind: str = "opened"
    """The notification's."""
    run: RunInfo | None = None
    task: TaskInfo | None = None
    """The task of the event, if it is about one."""
    failed: tuple[TaskInfo, ...] = ()
    """The run's failed tasks, the earliest failure first: it is the likeliest cause."""
    tasks: tuple[TaskInfo, ...] = ()
    metrics: tuple[Metric, ...] = ()
    assets: tuple[AssetInfo, ...] = ()
    incident: IncidentInfo | None = None
    last_good: RunInfo | None = None
    changes: tuple[RunDifference, ...] = ()
    unlisted_changes: int = 0
    history: tuple[PastRun, ...] = ()
    """The DAG's recent runs, oldest first, this one last."""
    events: tuple[EventSummary, ...] = ()
    """The events that the mail reports, oldest first, if there are several."""
    earlier: int = 0
    """Events before those, which are only counted."""
    import_error: ImportTrouble | None = None
    watch: WatchInfo | None = None
    facts: tuple[Fact, ...] = ()
    """The main fields of an event that has no form of its own."""
    unconfirmed: str | None = None
    """The reason if Airflow's confirmation is missing. None also if there is no Airflow to ask."""

    @property
    def count(self) -> int:
        """The number of events in the message."""
        return len(self.events) + self.earlier or 1

    @property
    def failure_groups(self) -> tuple[FailureGroup, ...]:
        """The failed tasks, grouped by their errors."""
        return group_failures(self.failed)

    @property
    def dag_id(self) -> str | None:
        """The DAG of the run, or None."""
        return self.run.dag_id if self.run else None


HEIGHT = 44  # pixels of the longest run's bar
LOWEST = 5  # pixels, so that a run of a second is seen
STEPS = "▁▂▃▄▅▆▇█"
GOOD, BAD = "✓", "✗"


@dataclass(frozen=True)
class RunBar:
    """A run."""

    run: PastRun
    height: int
    step: str
    """The bar as one sign of text."""

    @property
    def sign(self) -> str:
        """The sign of the bar: good or bad."""
        return GOOD if self.run.is_good else BAD


@dataclass(frozen=True)
class RunChart:
    """A chart of runs as bars, oldest first. It is empty if the runs are too few to compare."""

    bars: tuple[RunBar, ...] = ()

    @property
    def good(self) -> int:
        """The number of successful runs."""
        return sum(bar.run.is_good for bar in self.bars)

    @property
    def bad(self) -> int:
        """The number of failed runs."""
        return len(self.bars) - self.good

    @property
    def longest(self) -> timedelta | None:
        """The longest duration, or None."""
        return _longest([bar.run for bar in self.bars])

    @property
    def steps(self) -> str:
        """The bars as one text."""
        return "".join(bar.step for bar in self.bars)

    @property
    def signs(self) -> str:
        """The signs as one text."""
        return "".join(bar.sign for bar in self.bars)

    @property
    def failing(self) -> int:
        """The number of latest runs that failed one after the other."""
        return len(self.signs) - len(self.signs.rstrip(BAD))


def chart_of(history: Sequence[PastRun]) -> RunChart:
    """Return the chart of past runs."""
    if len(history) < 2:
        return RunChart()
    longest = _longest(history)
    return RunChart(tuple(_bar(run, longest) for run in history))


def _bar(run: PastRun, longest: timedelta | None) -> RunBar:
    share = run.duration / longest if run.duration and longest else 0.0
    height = max(LOWEST, round(share * HEIGHT))
    return RunBar(run, height, STEPS[min(len(STEPS) - 1, int(share * len(STEPS)))])


def _longest(history: Sequence[PastRun]) -> timedelta | None:
    return max((run.duration for run in history if run.duration), default=None)
