"""The summaries of incidents for pages and the API: error, place, last good run, notifications.

`summarize` reads what the log and the projections have of the latest failure of each incident. Each text and
each list is bounded, because a page shows many incidents, and a task may write any text as its error.

All of it is of the incident's own DAG, so every reader of the incident may see it. A notification may cover
other DAGs too. Its recipients are shown only to readers of all of them (notifications/outbox/queries.py)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from monitor.database.statements import Row
from monitor.delivery.messages import facts, run_history
from monitor.delivery.messages.filters import shorten
from monitor.delivery.messages.model import Error, RunDifference, RunInfo, TaskInfo
from monitor.delivery.messages.run_history import RunHistory
from monitor.event_log import read
from monitor.event_log.filters import AllowedDags
from monitor.event_log.projections import dags as dags_projection
from monitor.event_log.projections import runs as runs_projection
from monitor.event_log.projections.runs import RunName
from monitor.events.data import DagRunData, ImportErrorData, TaskInstanceData, WatchData
from monitor.events.event import Event
from monitor.notifications.incidents import Incident
from monitor.notifications.outbox import decisions, queries
from monitor.notifications.outbox.queries import DeliveryFilter, RecipientSummary
from monitor.notifications.outbox.records import Decision, State
from monitor.plain_text import cut, cut_start, lines
from monitor.web.rule_descriptions import why_nobody

MAX_TEXT = 300  # characters of an error's first line or of a name: a row of a list has room for two lines
MAX_TRACE = 20_000  # characters, the last ones: the error stands at the end
MAX_FAILED = 200  # failed instances of one run that are folded: further ones are counted
MAX_RANGES = 6  # ranges of mapped indexes: a row has room for them
MAX_NAMES = 20  # tags, owners or recipients
MAX_RECIPIENTS = 2_000  # rows about recipients of all incidents of a page
READ_TOGETHER = 20  # events: their bodies may have 256 KiB each
REACHED = (State.SENT, State.UNCERTAIN)
WAITING = (State.PENDING, State.SENDING, State.PARKED)


@dataclass(frozen=True)
class FailedTask:
    """A task that failed in one run, its mapped instances folded."""

    first: TaskInfo
    """The instance that failed first."""
    map_indexes: tuple[int, ...] = ()
    """The indexes in order. Empty if the task is not mapped."""
    failed: int = 1
    instances: int = 1
    """All instances of the task, however they ended."""

    @property
    def name(self) -> str:
        """The task's name with its map indexes: `load[1–3, 7]`."""
        if not self.map_indexes:
            return self.first.name
        more = ", …" if self.failed > len(self.map_indexes) else ""
        return f"{self.first.task_id}[{fold_indexes(self.map_indexes)}{more}]"


@dataclass(frozen=True)
class Notified:
    """The recipients who were notified of an incident, or the reason why there were none."""

    reached: str = ""
    """The recipients: `ops@example.com, jane@example.com by email; on-call#1 by webhook`"""
    last_at: datetime | None = None
    waiting: str = ""
    """The recipients whose delivery is not settled."""
    nobody: Decision | None = None
    """The decision about the latest failure, if it had no recipient."""
    undelivered: str | None = None
    """The reason why no recipient was reached, although a rule notified."""
    is_hidden: bool = False
    """The notification covers other DAGs too, which the reader may not see."""


@dataclass(frozen=True)
class IncidentSummary:
    """The facts about an incident's latest failure, its DAG and its notifications."""

    error: Error | None = None
    """The error. Its lines are the traceback with the author's own frames first."""
    trace: str = ""
    """The end of the traceback as it was reported. Empty if no traceback was."""
    message: str | None = None
    """The reason that Airflow or a watch gives, if no error is known."""
    run: RunInfo | None = None
    task: FailedTask | None = None
    other_tasks: int = 0
    """Further tasks that failed in that run."""
    file: str | None = None
    owners: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    notified: Notified = Notified()
    last_success: Mapping[str, Any] | None = None
    """The DAG's last successful run. None if the incident has ended."""

    @property
    def where(self) -> str:
        """The task or the file."""
        return self.task.name if self.task else self.file or ""


def summarize(
    connection: Connection, incidents: Sequence[Incident], allowed_dags: AllowedDags
) -> dict[int, IncidentSummary]:
    """Return the summaries by the incidents' ids. The reader may see each of the incidents."""
    events = _load_events(connection, [incident.last_seq for incident in incidents], allowed_dags)
    failures = _load_failures(connection, events.values())
    names = {(incident.deployment, incident.dag_id) for incident in incidents if incident.dag_id}
    labels = dags_projection.find_labels(connection, names)
    notified = _find_notified(connection, incidents, events, allowed_dags)
    open_names = {
        (incident.deployment, incident.dag_id)
        for incident in incidents
        if incident.dag_id and incident.is_open
    }
    successes = runs_projection.find_last_successes(connection, open_names)
    return {
        incident.id: replace(
            _summarize(connection, events.get(incident.last_seq), failures),
            owners=_names(labels.get((incident.deployment, incident.dag_id or "")), "owners"),
            tags=_names(labels.get((incident.deployment, incident.dag_id or "")), "tags"),
            notified=notified[incident.id],
            last_success=successes.get((incident.deployment, incident.dag_id or ""))
            if incident.is_open
            else None,
        )
        for incident in incidents
    }


def _load_events(connection: Connection, seqs: Sequence[int], allowed_dags: AllowedDags) -> dict[int, Event]:
    events: dict[int, Event] = {}
    for start in range(0, len(seqs), READ_TOGETHER):
        logged = read.find_by_seqs(connection, seqs[start : start + READ_TOGETHER], allowed_dags)
        events.update(read.parse_each(logged))
    return events


def _names(dag: Mapping[str, Any] | None, column: str) -> tuple[str, ...]:
    return tuple(cut(str(name), MAX_TEXT) for name in ((dag or {}).get(column) or ())[:MAX_NAMES])


@dataclass(frozen=True)
class RunFailures:
    """The failures of some runs."""

    first: Mapping[RunName, Row]
    """The task instance that failed first, with its error."""
    instances: Mapping[RunName, Sequence[tuple[str, int]]]
    """The task_id and map_index of the instances that failed."""


def _load_failures(connection: Connection, events: Iterable[Event]) -> RunFailures:
    names = {
        RunName(event.deployment, event.data.dag_id, event.data.run_id)
        for event in events
        if isinstance(event.data, DagRunData)
    }
    return RunFailures(
        runs_projection.first_failures(connection, names),
        runs_projection.failed_instances(connection, names, MAX_FAILED),
    )


def _summarize(connection: Connection, event: Event | None, failures: RunFailures) -> IncidentSummary:
    data = event.data if event else None
    if event and isinstance(data, DagRunData):
        return _summarize_run(connection, facts.run_of(event.deployment, data), failures)
    if event and isinstance(data, TaskInstanceData):
        task = facts.task_of_event(data)
        indexes = () if task.map_index < 0 else (task.map_index,)
        return IncidentSummary(
            error=_bound(task.error),
            trace=_mask_trace(data.error.traceback if data.error else None),
            run=RunInfo(event.deployment, data.dag_id, data.run_id, data.state),
            task=FailedTask(_bound_task(task), indexes),
        )
    if isinstance(data, ImportErrorData):
        trouble = facts.trouble_of(data)
        return IncidentSummary(
            error=_bound(trouble.error),
            trace=_mask_trace(data.stacktrace),
            file=cut(trouble.filename, MAX_TEXT),
        )
    return IncidentSummary(message=cut(data.what, MAX_TEXT) if isinstance(data, WatchData) else None)


def _summarize_run(connection: Connection, run: RunInfo, failures: RunFailures) -> IncidentSummary:
    name = RunName(run.deployment, run.dag_id, run.run_id)
    cause, instances = failures.first.get(name), failures.instances[name]
    task = facts.task_of(cause) if cause else None
    error = task.error if task else None
    return IncidentSummary(
        error=_bound(error),
        trace=_mask_trace(cause["error"].get("traceback")) if cause and error else "",
        message=cut(run.message, MAX_TEXT) if run.message and not error else None,
        run=run,
        task=_fold_instances(connection, name, task, instances) if task else None,
        other_tasks=max(0, len({task_id for task_id, _ in instances}) - 1),
    )


def _bound(error: Error | None) -> Error | None:
    return error and replace(error, message=shorten(error.message, MAX_TEXT))


def _bound_task(task: TaskInfo) -> TaskInfo:
    return replace(task, host=cut(task.host, MAX_TEXT) if task.host else None, error=None)


def _mask_trace(text: str | None) -> str:
    """Return the end of a traceback, without secrets."""
    return cut_start(facts.mask_secrets("\n".join(lines((text or "").rstrip()))), MAX_TRACE)


def _fold_instances(
    connection: Connection, name: RunName, first: TaskInfo, failed: Sequence[tuple[str, int]]
) -> FailedTask:
    """Fold the mapped instances of the task that failed first in a run."""
    task = _bound_task(first)
    if task.map_index < 0:
        return FailedTask(task)
    indexes = sorted(map_index for task_id, map_index in failed if task_id == task.task_id)
    counts = runs_projection.count_instances(connection, name, {task.task_id})[task.task_id]
    return FailedTask(task, tuple(indexes), counts.get("failed", 0), sum(counts.values()))


def fold_indexes(indexes: Sequence[int]) -> str:
    """Return sorted indexes as ranges, of which the first MAX_RANGES are named: `1–3, 7, …`."""
    ranges: list[list[int]] = []
    for index in indexes:
        if ranges and index == ranges[-1][-1] + 1:
            ranges[-1][1:] = [index]
        else:
            ranges.append([index])
    texts = ["–".join(map(str, ends)) for ends in ranges[:MAX_RANGES]]
    return ", ".join([*texts, *(["…"] if len(ranges) > MAX_RANGES else [])])


def _find_notified(
    connection: Connection,
    incidents: Sequence[Incident],
    events: Mapping[int, Event],
    allowed_dags: AllowedDags,
) -> dict[int, Notified]:
    ids = [incident.id for incident in incidents]
    rows: dict[int, list[RecipientSummary]] = {incident_id: [] for incident_id in ids}
    for row in queries.summarize_recipients(connection, ids, MAX_RECIPIENTS, allowed_dags):
        rows[row.incident_id].append(row)
    with_notification = queries.find_notified_incidents(connection, ids)
    without = [incident for incident in incidents if incident.id not in with_notification]
    event_ids = [events[incident.last_seq].id for incident in without if incident.last_seq in events]
    decided = decisions.decisions_of_events(connection, event_ids, allowed_dags) if event_ids else []
    nobody = why_nobody(decision for decision in decided)
    return {
        incident.id: _notified_of(connection, rows[incident.id], allowed_dags)
        if rows[incident.id]
        else Notified(
            nobody=nobody.get(incident.last_seq),
            is_hidden=allowed_dags is not None and incident.id in with_notification,
        )
        for incident in incidents
    }


def _notified_of(
    connection: Connection, rows: Sequence[RecipientSummary], allowed_dags: AllowedDags
) -> Notified:
    reached = {(row.recipient, row.channel): row.last_at for row in rows if row.state in REACHED}
    waiting = {(row.recipient, row.channel): row.last_at for row in rows if row.state in WAITING}
    lost = None
    if not reached and not waiting:
        incident_filter = DeliveryFilter(incident_id=rows[0].incident_id)
        last = queries.deliveries(connection, 1, None, incident_filter, allowed_dags)
        lost = shorten(last[0].reason, MAX_TEXT) if last else None
    return Notified(
        reached=_join_recipients(reached),
        last_at=max((row.last_at for row in rows if row.state in REACHED), default=None),
        waiting=_join_recipients(whom for whom in waiting if whom not in reached),
        undelivered=lost,
    )


def _join_recipients(recipients: Iterable[tuple[str, str]]) -> str:
    named = list(recipients)
    by_channel: dict[str, list[str]] = {}
    for recipient, channel in named[:MAX_NAMES]:
        by_channel.setdefault(channel, []).append(recipient)
    texts = [f"{', '.join(names)} by {channel}" for channel, names in by_channel.items()]
    more = [f"{len(named) - MAX_NAMES} more"] if len(named) > MAX_NAMES else []
    return "; ".join([*texts, *more])


@dataclass(frozen=True)
class LastGoodRun:
    """The last run of the DAG that succeeded before the incident's latest failure."""

    run: RunInfo
    changes: tuple[RunDifference, ...]
    """The differences of the failed run, as far as the log has them. Airflow knows more."""


def find_last_good(connection: Connection, incident: Incident, run: RunInfo | None) -> LastGoodRun | None:
    """Return None if the incident is of no DAG, or the log knows of no earlier success."""
    if incident.dag_id is None:
        return None
    listed = run_history.from_board(connection, incident.deployment, incident.dag_id)
    this = next((details.run for details in listed if run and details.run.run_id == run.run_id), None)
    history = RunHistory.build(listed, this, (this.start if this else None) or incident.last_at)
    good = history.last_good
    if good is None:
        return None
    changes = () if history.this is None else run_history.changes_of(history.this, good)[0]
    return LastGoodRun(good.run, changes)
