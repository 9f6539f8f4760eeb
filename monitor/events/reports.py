"""The check of a report from outside: who may report it, and the computation of its id and time.

The sender's id and time are not trusted. Anybody who may report could otherwise claim another event's id
beforehand, and the true event would be a duplicate for ever. So `accept_report` computes the id from the
data. The time follows from the dates in the data, if the data has dates. Otherwise the sender's time is
taken within bounds."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from monitor.errors import EventError
from monitor.events.data import (
    DATA,
    NUDGE,
    OWN,
    RUN_STATES,
    TASK_STATES,
    AliasData,
    AssetData,
    AssetUpdatedData,
    BackfillCompletedData,
    DagPauseData,
    DagRunData,
    Data,
    ImportErrorData,
    ImportErrorMendedData,
    TaskInstanceData,
)
from monitor.events.event import Event, parse_event
from monitor.events.identity import (
    asset_event_id_of,
    backfill_id_of,
    digest,
    earlier_try_id_of,
    import_error_mended_id,
    pause_id,
    reported_error_id,
    run_id_of,
    task_id_of,
)

LISTENER = "listener"
MAX_EVENT = 256 * 1024  # bytes of JSON: twice what the plugin's bounds on texts allow. Readers hold hundreds
CLOCK_SLACK_SECONDS = 300.0
"""The seconds by which a sender's clock may be ahead of the monitor's, as for its signature. What is dated
later gets the moment of its arrival, because an incident whose last failure is in the future is never
closed."""
OLDEST = timedelta(days=30)
"""The greatest age that a sender may give to an event without dates in its data. A spool is full or sent
before that."""
NUDGE_ID = "nudge:"
HOOKS = frozenset(
    (
        *(f"airflow.dag_run.{state}" for state in RUN_STATES),
        *(f"airflow.task_instance.{state}" for state in TASK_STATES),
        *("airflow.asset.created", "airflow.asset_alias.created", "airflow.dag.import_error", NUDGE),
    )
)
"""Types that Airflow's hooks report."""
FROM_REST = frozenset(kind for kind in DATA if not kind.startswith(OWN)) - HOOKS
"""Types that the monitor reads from Airflow itself: no hook reports them, and their ids can be guessed."""


@dataclass(frozen=True)
class Reporter:
    """The sender of reports, and the rights that come with its secret or token."""

    deployments: frozenset[str]
    """The deployments that they may report for."""
    asked_deployments: frozenset[str] = field(default=frozenset())
    """The deployments whose Airflow the monitor asks. What it reads from Airflow it accepts from no sender.
    """


def accept_report(raw: object, reporter: Reporter, now: datetime) -> Event:
    """Check a decoded JSON value and return its event with the monitor's own id and time.

    Raises EventError with each wrong field, its value and the value it should have."""
    event = parse_event(raw)
    if len(event.body.encode()) > MAX_EVENT:
        raise EventError(f"the event is longer than {MAX_EVENT} bytes; leave out some of its data")
    if event.type.startswith(OWN) and event.type != NUDGE:
        raise EventError(
            f"type: {event.type!r} is reported by the monitor itself, and taken from nobody else"
        )
    if event.deployment not in reporter.deployments:
        raise EventError(
            f"source: this secret or token may not report for the deployment {event.deployment!r}, only for "
            f"{', '.join(sorted(reporter.deployments)) or 'none'}; set [windsock] deployment in Airflow to "
            "the monitor's name for it (WINDSOCK_DEPLOYMENT, WINDSOCK_AIRFLOWS)"
        )
    if event.data.reported_by != LISTENER:
        raise EventError(
            f"data.reported_by: {event.data.reported_by!r} is the monitor's own; a sender writes {LISTENER!r}"
        )
    if event.type in FROM_REST and event.deployment in reporter.asked_deployments:
        raise EventError(
            f"type: the monitor reads {event.type!r} from the Airflow of {event.deployment!r} itself; report "
            f"an asset's update as {NUDGE!r}"
        )
    if isinstance(event.data, TaskInstanceData) and event.data.ti_id is None:
        raise EventError(
            "data.ti_id: null; a hook names each try by its UUID, only the monitor reports others"
        )
    event_id = compute_id(event)
    extra = {"error_id": event_id} if isinstance(event.data, ImportErrorData) else {}
    return event.correct(event_id, _time_of(event, now), **extra)


def compute_id(event: Event) -> str:
    """Return the id that follows from the event's data.

    Raises EventError if none does, because a sender's id might be that of another event."""
    if event.type == NUDGE:  # is not logged, so that it takes no id
        if not event.id.startswith(NUDGE_ID):
            raise EventError(f"id: {event.id!r} of a nudge does not begin with {NUDGE_ID!r}")
        return event.id
    if isinstance(event.data, ImportErrorData):
        data = event.data
        return reported_error_id(data.filename, data.stacktrace, data.bundle_name, data.error_id, event.id)
    compute = _IDS.get(type(event.data))
    if compute is None:
        raise EventError(f"type: the id of {event.type!r} does not follow from its data; report another type")
    return compute(event.data)


def _time_of(event: Event, now: datetime) -> datetime:
    """Return when the state changed: by the dates in the data, else by the sender, both within bounds."""
    latest = now + timedelta(seconds=CLOCK_SLACK_SECONDS)
    changed = find_change_time(event.data)
    if changed is not None:
        return changed if changed <= latest else now
    return event.time if now - OLDEST <= event.time <= latest else now


def find_change_time(data: Data) -> datetime | None:
    """Return when the state changed, by the dates in the data, or None if the data has no dates."""
    if isinstance(data, AssetUpdatedData):
        return data.timestamp
    if isinstance(data, BackfillCompletedData):
        return data.completed_at
    if isinstance(data, (DagRunData, TaskInstanceData)):
        return data.start_date if data.state == "running" else data.end_date
    return None


def _task_id(data: TaskInstanceData) -> str:
    if data.ti_id is not None:
        return task_id_of(data.ti_id, data.state)
    return earlier_try_id_of(
        data.dag_id, data.run_id, data.task_id, data.map_index, data.try_number, data.state
    )


_IDS: dict[type[Data], Callable[[Any], str]] = {
    DagRunData: lambda data: run_id_of(data.dag_id, data.run_id, data.start_date, data.queued_at, data.state),
    TaskInstanceData: _task_id,
    AssetUpdatedData: lambda data: asset_event_id_of(data.asset_event_id),
    BackfillCompletedData: lambda data: backfill_id_of(data.backfill_id),
    ImportErrorMendedData: lambda data: import_error_mended_id(data.error_id),
    AssetData: lambda data: f"asset:{digest(data.asset.name, data.asset.uri)}:created",
    AliasData: lambda data: f"asset_alias:{digest(data.alias.name)}:created",
    DagPauseData: lambda data: pause_id(data.dag_id, data.state),
}
