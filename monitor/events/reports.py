"""Check an event that somebody else reports: who may report it, and what its id and time are.

The sender's id and time are not believed. Both follow from the data, so the monitor computes them: otherwise
whoever may report could take another event's id beforehand, and the true event would be a duplicate for ever.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
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
    TaskInstanceData,
)
from monitor.events.identity import (
    asset_event_id_of,
    backfill_id_of,
    digest,
    earlier_try_id_of,
    pause_id,
    run_id_of,
    task_id_of,
)
from monitor.events.model import Event, parse_event

LISTENER = "listener"
MAX_EVENT = 256 * 1024  # bytes of JSON: twice what the plugin's bounds on texts allow. Readers hold hundreds
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
    """Whoever sends reports: what their secret or token is for."""

    deployments: frozenset[str]
    """The deployments that they may report for."""
    asked: frozenset[str] = field(default=frozenset())
    """The deployments whose Airflow the monitor asks: what it reads there, it takes from nobody."""


def accept_report(raw: object, reporter: Reporter) -> Event:
    """Check one decoded JSON value, and return the event with the monitor's own id and time.

    Raises EventError with each wrong field, its value and what it should be.
    """
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
    if event.type in FROM_REST and event.deployment in reporter.asked:
        raise EventError(
            f"type: the monitor reads {event.type!r} from the Airflow of {event.deployment!r} itself; report "
            f"an asset's update as {NUDGE!r}"
        )
    return event.corrected(computed_id(event), changed_at(event.data))


def computed_id(event: Event) -> str:
    """Return the id that follows from the event's data; its own if the type has no natural key there."""
    compute = _IDS.get(type(event.data))
    return compute(event.data) if compute and event.type != NUDGE else event.id


def changed_at(data: Data) -> datetime | None:
    """Return when the state changed, by the dates in the data; None if there are none."""
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
    AssetData: lambda data: f"asset:{digest(data.asset.name, data.asset.uri)}:created",
    AliasData: lambda data: f"asset_alias:{digest(data.alias.name)}:created",
    DagPauseData: lambda data: pause_id(data.dag_id, data.state),
}
