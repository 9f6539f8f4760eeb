"""The timeline of a run's tasks and tries: each try of each task is a bar on one axis.

Positions are seconds from the start of the axis, both in the page and in the script that lets open bars
grow. The server draws positions in percent of the axis, so that no element needs a style of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from monitor.database.statements import size_of
from monitor.database.types import read_each
from monitor.delivery.messages.filters import span
from monitor.event_log import read
from monitor.event_log.filters import Filter
from monitor.event_log.projections.runs import RunName
from monitor.event_log.projections.state import OVER, RUNNING, shorten_error
from monitor.event_log.read import LoggedEvent
from monitor.events.data import MAX_LABEL
from monitor.plain_text import cut
from monitor.web.responses import MAX_HTML_BYTES

MAX_TOLD = 2_000  # of a run's task events, the latest: bounds what one page parses
MAX_TRIES = 400  # earlier tries that a page shows, the latest: each takes a kilobyte of it
LEFT_OUT = {
    "type": None,
    "message": "This page leaves the error out because it has long errors enough. The log has it.",
    "traceback": None,
}
TASKS = "airflow.task_instance.*"


@dataclass(frozen=True)
class FinishedTry:
    """A try that is over."""

    number: int
    state: str
    start: datetime | None
    end: datetime | None
    host: str | None
    error: Mapping[str, Any] | None


Tries = dict[tuple[str, int], list[FinishedTry]]
"""The earlier tries by task_id and map_index, the first try first."""


def earlier_tries(connection: Connection, name: RunName, tasks: Sequence[Mapping[str, Any]]) -> Tries:
    """Return what the log still has of earlier tries. The log is read only if some task was tried twice."""
    latest = {
        (task["task_id"], task["map_index"]): task["try_number"] for task in tasks if task["try_number"] > 1
    }
    if not latest:
        return {}
    event_filter = Filter.from_values(type=[TASKS], **{key: [value] for key, value in vars(name).items()})
    found: dict[tuple[str, int, int], FinishedTry] = {}
    size = 0
    task_events = read.read_before(connection, None, MAX_TOLD, event_filter, most_bytes=read.MAX_READ_BYTES)
    for event_name, key, task in read_each("events", task_events, _parse_logged):
        # A filter reads * and ? in a name as globs, but in these names they are letters.
        is_of_run = event_name == (name.dag_id, name.run_id)
        if is_of_run and task.state != RUNNING and key[2] < latest.get(key[:2], 0) and key not in found:
            size += size_of(task)
            found[key] = task if size <= MAX_HTML_BYTES else replace(task, error=task.error and LEFT_OUT)
        if len(found) == MAX_TRIES:
            break
    tries: Tries = {}
    for key in sorted(found):
        tries.setdefault(key[:2], []).append(found[key])
    return tries


def _parse_logged(logged: LoggedEvent) -> tuple[tuple[str, str], tuple[str, int, int], FinishedTry]:
    """Return the try's run, its task and number, and the try."""
    data = read.data_of(logged)
    key = (data["task_id"], data.get("map_index", -1), data["try_number"])
    return (data["dag_id"], data["run_id"]), key, _parse_try(data)


def _parse_try(data: Mapping[str, Any]) -> FinishedTry:
    return FinishedTry(
        number=data["try_number"],
        state=data["state"],
        start=_moment(data.get("start_date")),
        end=_moment(data.get("end_date")),
        host=cut(data.get("hostname") or "", MAX_LABEL) or None,
        error=shorten_error(data["error"]) if data.get("error") else None,
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


@dataclass(frozen=True)
class MappedTask:
    """The instances of one mapped task, folded into one row."""

    counts: Mapping[str, int]
    """The number of the run's instances in each state."""
    failures: tuple[tuple[Mapping[str, Any], tuple[int, ...]], ...]
    """The errors, each with the indexes of the page's instances that it failed. The most frequent error is
    first."""

    @property
    def text(self) -> str:
        """The instances' states in words."""
        return ", ".join(f"{number} {state.replace('_', ' ')}" for state, number in self.counts.items())


WORST_FIRST = ("failed", "upstream_failed", "up_for_retry", RUNNING)
"""The state of a folded row: the first of these that an instance is in, else the most frequent one."""


def fold(
    tasks: Sequence[Mapping[str, Any]], counts: Mapping[str, Mapping[str, int]]
) -> list[Mapping[str, Any]]:
    """Return one row for each task of a page: the instances of a mapped task become one, with `mapped`.
    `counts`: how many instances of each task are in which state, on all pages."""
    instances: dict[str, list[Mapping[str, Any]]] = {}
    for task in tasks:
        instances.setdefault(task["task_id"], []).append(task)
    return [
        rows[0] if sum(counts[task_id].values()) == 1 else _fold_one(rows, counts[task_id])
        for task_id, rows in instances.items()
    ]


def _fold_one(instances: Sequence[Mapping[str, Any]], counts: Mapping[str, int]) -> Mapping[str, Any]:
    starts = [task["start_date"] for task in instances if task["start_date"]]
    ends = [task["end_date"] for task in instances if task["end_date"]]
    return {
        **instances[0],
        "map_index": -1,
        "state": next((state for state in WORST_FIRST if state in counts), next(iter(counts))),
        "start_date": min(starts, default=None),
        "end_date": None if RUNNING in counts else max(ends, default=None),
        "error": None,
        "hostname": None,
        "mapped": MappedTask(counts, _failures(instances)),
    }


def _failures(
    instances: Sequence[Mapping[str, Any]],
) -> tuple[tuple[Mapping[str, Any], tuple[int, ...]], ...]:
    by_error: dict[tuple[Any, Any], tuple[Mapping[str, Any], list[int]]] = {}
    for task in sorted(instances, key=lambda task: int(task["map_index"])):
        if task["state"] == "failed":
            error = task["error"] or {}
            key = (error.get("type"), error.get("message"))
            by_error.setdefault(key, (error, []))[1].append(task["map_index"])
    groups = sorted(by_error.values(), key=lambda group: -len(group[1]))
    return tuple((error, tuple(indexes)) for error, indexes in groups)


MAX_LINES = 200  # tasks of a page, each of them drawn or folded into a row
TICKS = 6  # at most: their words stay apart on a phone
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
MARGIN = 1.02  # of the axis behind the end of a run that is over
WAITING = "up_for_retry"


@dataclass(frozen=True)
class GanttBar:
    """A stretch of a line. With `end` None it still goes on."""

    state: str
    """A state, or `queued`, or `waiting` for the next try."""
    begin: float
    end: float | None
    words: str


@dataclass(frozen=True)
class GanttRow:
    """A line of the chart: a task and its bars."""

    task: Mapping[str, Any]
    """The task's row in the projection: its latest try."""
    bars: tuple[GanttBar, ...]
    earlier: tuple[FinishedTry, ...]

    @property
    def mapped(self) -> MappedTask | None:
        """The instances that the line folds, or None."""
        return self.task.get("mapped")


@dataclass(frozen=True)
class GanttChart:
    """The Gantt chart of a run."""

    begin: datetime
    length: float
    """Seconds."""
    now: float
    """The place at which open bars end at the moment."""
    run_bars: tuple[GanttBar, ...]
    lines: tuple[GanttRow, ...]

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """The marks of the axis, with their labels."""
        step = _step(self.length)
        return [(at, _label(at)) for at in _multiples(step, self.length)]

    def percent(self, seconds: float) -> str:
        """Return the percentage of a place on the axis."""
        return f"{min(100.0, max(0.0, 100 * seconds / self.length)):.3f}"

    def width(self, bar: GanttBar) -> str:
        """Return the width of a bar in percent."""
        end = self.now if bar.end is None else bar.end
        return self.percent(max(0.0, end - bar.begin))


def chart_of(
    run: Mapping[str, Any],
    tasks: Sequence[Mapping[str, Any]],
    earlier: Mapping[tuple[str, int], Sequence[FinishedTry]],
    now: datetime,
) -> GanttChart | None:
    """Return the chart of a run, or None if nothing has begun that could be drawn."""
    starts = [task["start_date"] for task in tasks if task["start_date"]]
    begin = run["queued_at"] or run["start_date"] or min(starts, default=None)
    # A cleared run begins anew and keeps the time at which it was queued first, and some of its tasks.
    began = run["start_date"] or begin
    if begin is None or began is None:
        return None
    begin = min((moment for moment in (begin, *starts) if began - moment <= _USUAL_WAIT), default=began)
    is_open = run["state"] not in OVER
    return GanttChart(
        begin=begin,
        length=_length(begin, run, tasks, now, is_open),
        now=max(0.0, (now - begin).total_seconds()),
        run_bars=tuple(_run_bars(run, begin, is_open)),
        lines=tuple(_line(task, earlier, begin, is_open) for task in tasks),
    )


_USUAL_WAIT = timedelta(hours=1)
"""The usual longest wait. What lies longer before a run's begin is of an earlier occurrence, and its bars
would crush all others."""


def _length(
    begin: datetime, run: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]], now: datetime, is_open: bool
) -> float:
    """Return the length of the axis.
    For a run that goes on it reaches a round moment to come, so that the axis does not change all the time.
    """
    ends = [task["end_date"] for task in tasks if task["end_date"]]
    last = max([*ends, *([now] if is_open else []), run["end_date"] or begin])
    seconds: float = max((last - begin).total_seconds(), 1.0)
    if not is_open:
        return seconds * MARGIN
    step = _step(seconds)
    return (int(seconds / step) + 1) * step


def _step(seconds: float) -> float:
    whole_days = int(seconds / TICKS / STEPS[-1]) + 1
    return next((float(step) for step in STEPS if seconds / step <= TICKS), float(whole_days * STEPS[-1]))


def _multiples(step: float, upto: float) -> Iterator[float]:
    at = 0.0
    while at < upto:
        yield at
        at += step


def _label(seconds: float) -> str:
    """Return the label of a mark: 0 · 30 s · 5 min · 1 h 30 min · 2 d."""
    days, rest = divmod(int(seconds), 86400)
    parts = zip((days, rest // 3600, rest % 3600 // 60, rest % 60), ("d", "h", "min", "s"), strict=True)
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0"


def _run_bars(run: Mapping[str, Any], begin: datetime, is_open: bool) -> Iterator[GanttBar]:
    queued, started = run["queued_at"], run["start_date"]
    if queued and queued >= begin and (started is None or started > queued):
        yield _bar("queued", queued, started, begin, is_open, "queued")
    if started:
        yield _bar(run["state"], started, run["end_date"], begin, is_open, run["state"])


def _line(
    task: Mapping[str, Any],
    earlier: Mapping[tuple[str, int], Sequence[FinishedTry]],
    begin: datetime,
    is_open: bool,
) -> GanttRow:
    before = () if "mapped" in task else tuple(earlier.get((task["task_id"], task["map_index"]), ()))
    bars = [
        _bar(
            finished_try.state,
            finished_try.start,
            finished_try.end,
            begin,
            False,
            f"try {finished_try.number}: {finished_try.state}",
        )
        for finished_try in before
        if finished_try.start and finished_try.end and finished_try.start >= begin
    ]
    if task["start_date"] and task["start_date"] >= begin:
        mapped = task.get("mapped")
        goes_on = is_open and (RUNNING in mapped.counts if mapped else task["state"] == RUNNING)
        text = mapped.text if mapped else f"try {task['try_number']}: {task['state']}"
        bars.append(_bar(task["state"], task["start_date"], task["end_date"], begin, goes_on, text))
    if is_open and task["state"] == WAITING and task["end_date"]:
        bars.append(_bar("waiting", task["end_date"], None, begin, True, "waits for its next try"))
    return GanttRow(task, tuple(bars), before)


def _bar(
    state: str, start: datetime, end: datetime | None, begin: datetime, goes_on: bool, label: str
) -> GanttBar:
    """Return a bar.
    A stretch without an end that no longer goes on is a moment, because its end is unknown."""
    at = (start - begin).total_seconds()
    until = (end - begin).total_seconds() if end else None if goes_on else at
    took = f", {span(end - start)}" if end else ""
    return GanttBar(state, at, until, f"{label.replace('_', ' ')}{took}")
