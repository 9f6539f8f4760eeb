"""The events that the monitor makes itself: the findings of watches, and outages.

Each event's id is the natural key of its subject (docs/events.md). So a restart, or a second monitor,
reports nothing twice. `WatchContext` holds the values that all these events share.
"""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from monitor.events.event import Event, parse_event
from monitor.events.identity import digest, run_key, spoken, stamp

RECOVERED = ":recovered"
"""Behind the id of what is over."""


@dataclass(frozen=True)
class WatchContext:
    """The values that every event of a watch carries."""

    deployment: str
    now: datetime
    watch: str | None
    """The watch's name."""


@dataclass(frozen=True)
class Bound:
    """The longest time that is acceptable, and its source.
    The source is a history's median and spread, or a setting."""

    after: timedelta
    usual: timedelta | None = None
    spread: timedelta | None = None
    count: int | None = None
    is_without_history: bool = False
    """True if the bound replaces a history that is too short."""

    @property
    def data(self) -> dict[str, Any]:
        """The bound as fields of an event's data."""
        return {
            "after_seconds": self.after.total_seconds(),
            "usual_seconds": self.usual.total_seconds() if self.usual is not None else None,
            "spread_seconds": self.spread.total_seconds() if self.spread is not None else None,
        }

    def __str__(self) -> str:
        if self.is_without_history:
            return f"at most {spoken(self.after)} as long as its DAG has too few good runs to compare with"
        return f"usually {spoken(self.usual)}" if self.usual is not None else f"at most {spoken(self.after)}"


def own_event(context: WatchContext, event_id: str, kind: str, subject: str, data: dict[str, Any]) -> Event:
    """Return an event of the monitor itself. Raises EventError."""
    return parse_event(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": f"/airflow/{context.deployment}",
            "type": kind,
            "subject": subject,
            "time": stamp(context.now),
            "datacontenttype": "application/json",
            "data": {"watch": context.watch, **data, "reported_by": "monitor"},
        }
    )


def clock_time(moment: datetime) -> str:
    """Return the moment for a sentence. Programs read the fields."""
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True)
class WatchedRun:
    """The run that a watch looks at."""

    dag_id: str
    run_id: str
    run_type: str | None


def missing_id(dag_id: str, expected_at: datetime) -> str:
    """Return the id of the event of a missing run."""
    return f"run_missing:{digest(dag_id, stamp(expected_at))}"


def late_id(run: str) -> str:
    """Return the id of the event of a late run."""
    return f"run_late:{run}"


def stuck_id(run: str) -> str:
    """Return the id of the event of a run that runs too long."""
    return f"run_stuck:{run}"


def id_of(kind: str, dag_id: str, found: str) -> str | None:
    """Return the id of the event that reported a finding, or None if the finding is not about a run."""
    match kind:
        case "windsock.run.missing":
            return missing_id(dag_id, datetime.fromisoformat(found.replace("Z", "+00:00")))
        case "windsock.run.late":
            return late_id(found)
        case "windsock.run.stuck":
            return stuck_id(found)
        case _:
            return None


def missing(
    context: WatchContext, dag_id: str, expected_at: datetime, after: timedelta, schedule: str | None
) -> Event:
    """Return the event for a missing run, which Airflow's own schedule wanted at this moment."""
    data = {
        "what": f"{dag_id} has no run for {clock_time(expected_at)}, {spoken(context.now - expected_at)} ago",
        "since": stamp(expected_at),
        "dag_id": dag_id,
        "expected_at": stamp(expected_at),
        "after_seconds": after.total_seconds(),
        "schedule": schedule,
    }
    return own_event(context, missing_id(dag_id, expected_at), "windsock.run.missing", dag_id, data)


def late(
    context: WatchContext,
    run: WatchedRun,
    expected_at: datetime,
    queued_at: datetime | None,
    after: timedelta,
) -> Event:
    """Return the event for a run that exists and has not begun."""
    waits = spoken(context.now - expected_at)
    data = {
        "what": f"a run of {run.dag_id}, due at {clock_time(expected_at)}, has waited {waits} for its start",
        "since": stamp(expected_at),
        **asdict(run),
        "expected_at": stamp(expected_at),
        "queued_at": stamp(queued_at) if queued_at else None,
        "after_seconds": after.total_seconds(),
    }
    key = run_key(run.dag_id, run.run_id, None, queued_at)
    return own_event(context, late_id(key), "windsock.run.late", f"{run.dag_id}/{run.run_id}", data)


def stuck(context: WatchContext, run: WatchedRun, start_date: datetime, bound: Bound) -> Event:
    """Return the event for a run that still runs, for longer than the bound."""
    length = context.now - start_date
    data = {
        "what": f"a run of {run.dag_id} has been running for {spoken(length)}, {bound}",
        "since": stamp(start_date),
        **asdict(run),
        "start_date": stamp(start_date),
        "running_seconds": length.total_seconds(),
        **bound.data,
        "runs": bound.count,
    }
    key = run_key(run.dag_id, run.run_id, start_date, None)
    return own_event(context, stuck_id(key), "windsock.run.stuck", f"{run.dag_id}/{run.run_id}", data)


@dataclass(frozen=True)
class WatchedAsset:
    """An asset that a watch observes."""

    name: str
    uri: str
    group: str | None


def stale_id(uri: str, updated_at: datetime) -> str:
    """Return the id of the event of a stale asset."""
    return f"asset_stale:{digest(uri, stamp(updated_at))}"


def stale(
    context: WatchContext, asset: WatchedAsset, updated_at: datetime, dag_id: str | None, bound: Bound
) -> Event:
    """Return the event for an asset that was not updated for too long."""
    data = {
        "what": f"{asset.uri} was not updated for {spoken(context.now - updated_at)}, {bound}",
        "since": stamp(updated_at),
        "dag_id": dag_id,
        "asset": asdict(asset),
        "updated_at": stamp(updated_at),
        **bound.data,
        "intervals": bound.count,
    }
    return own_event(context, stale_id(asset.uri, updated_at), "windsock.asset.stale", asset.uri, data)


def asset_unconsumed_id(asset_event_id: int, dag_id: str) -> str:
    """Return the id of the event of an update without a run."""
    return f"asset_unconsumed:{asset_event_id}:{digest(dag_id)}"


def asset_unconsumed(
    context: WatchContext,
    asset: WatchedAsset,
    asset_event_id: int,
    updated_at: datetime,
    dag_id: str,
    after: timedelta,
) -> Event:
    """Return the event for an asset's update after which a DAG that is scheduled on the asset did not run."""
    waits = spoken(context.now - updated_at)
    data = {
        "what": f"{asset.uri} was updated at {clock_time(updated_at)}, {waits} ago, and {dag_id} did not run",
        "since": stamp(updated_at),
        "dag_id": dag_id,
        "asset": asdict(asset),
        "asset_event_id": asset_event_id,
        "updated_at": stamp(updated_at),
        "after_seconds": after.total_seconds(),
    }
    event_id = asset_unconsumed_id(asset_event_id, dag_id)
    return own_event(context, event_id, "windsock.asset.unconsumed", asset.uri, data)


def asset_recovered(
    context: WatchContext,
    what: str,
    ended: str,
    finding_id: str,
    asset: WatchedAsset,
    dag_id: str | None,
    since: datetime,
) -> Event:
    """Return the event for an asset that is no longer stale, or whose update got its run."""
    data = {
        "what": what,
        "since": stamp(since),
        "dag_id": dag_id,
        "asset": asdict(asset),
        "ended": ended,
        "lasted_seconds": (context.now - since).total_seconds(),
    }
    return own_event(context, finding_id + RECOVERED, "windsock.asset.recovered", asset.uri, data)


def unreachable_id(deployment: str, since: datetime) -> str:
    """Return the id of the event of an unreachable Airflow."""
    return f"airflow_unreachable:{digest(deployment, stamp(since))}"


def unreachable(context: WatchContext, since: datetime, error: str, after: timedelta) -> Event:
    """Return the event for an Airflow that does not answer or refuses every request."""
    what = f"Airflow {context.deployment} could not be asked since {clock_time(since)}: {error}"
    event_id = unreachable_id(context.deployment, since)
    data = {"what": what, "since": stamp(since), "error": error, "after_seconds": after.total_seconds()}
    return own_event(context, event_id, "windsock.airflow.unreachable", context.deployment, data)


def reachable_again(context: WatchContext, since: datetime) -> Event:
    """Return the event for an Airflow that answers again."""
    what = f"Airflow {context.deployment} answers again, after {spoken(context.now - since)}"
    event_id = unreachable_id(context.deployment, since) + RECOVERED
    return _build_recovery(context, event_id, "windsock.airflow.recovered", context.deployment, what, since)


def component_id(deployment: str, component: str, since: datetime) -> str:
    """Return the id of the event of an unhealthy component."""
    return f"airflow_component:{digest(deployment, component, stamp(since))}"


def component_unhealthy(
    context: WatchContext,
    component: str,
    status: str,
    since: datetime,
    heartbeat_at: datetime | None,
    after: timedelta,
) -> Event:
    """Return the event for a component of Airflow that has stopped or hangs.
    `since` is its latest heartbeat, if it had one."""
    name = format_component(component)
    what = f"Airflow {context.deployment}: the {name} is {status} since {clock_time(since)}"
    data = {
        "what": what,
        "component": component,
        "status": status,
        "since": stamp(since),
        "latest_heartbeat": stamp(heartbeat_at) if heartbeat_at else None,
        "after_seconds": after.total_seconds(),
    }
    event_id = component_id(context.deployment, component, since)
    return own_event(context, event_id, "airflow.component.unhealthy", component, data)


def component_recovered(context: WatchContext, component: str, since: datetime) -> Event:
    """Return the event for a component that is healthy again."""
    lasted = context.now - since
    name = format_component(component)
    what = f"Airflow {context.deployment}: the {name} is healthy again, after {spoken(lasted)}"
    data = {
        "what": what,
        "component": component,
        "since": stamp(since),
        "lasted_seconds": lasted.total_seconds(),
    }
    event_id = component_id(context.deployment, component, since) + RECOVERED
    return own_event(context, event_id, "airflow.component.recovered", component, data)


def format_component(component: str) -> str:
    """Return the component's name as Airflow's commands and documentation write it: `dag-processor`."""
    return component.replace("_", "-")


def mail_failing_id(since: datetime) -> str:
    """Return the id of the event of failing mail."""
    return f"mail_failing:{digest(stamp(since))}"


def mail_failing(context: WatchContext, since: datetime, error: str, after: timedelta) -> Event:
    """Return the event for mail that cannot be sent."""
    what = f"no mail could be sent since {clock_time(since)}: {error}"
    data = {"what": what, "since": stamp(since), "error": error, "after_seconds": after.total_seconds()}
    return own_event(context, mail_failing_id(since), "windsock.mail.failing", "mail", data)


def mail_works_again(context: WatchContext, since: datetime) -> Event:
    """Return the event for mail that works again."""
    what = f"mail is sent again, after {spoken(context.now - since)}"
    event_id = mail_failing_id(since) + RECOVERED
    return _build_recovery(context, event_id, "windsock.mail.recovered", "mail", what, since)


def _build_recovery(
    context: WatchContext, event_id: str, kind: str, subject: str, what: str, since: datetime
) -> Event:
    lasted = (context.now - since).total_seconds()
    return own_event(
        context, event_id, kind, subject, {"what": what, "since": stamp(since), "lasted_seconds": lasted}
    )


def delivery_trouble(
    context: WatchContext, state: str, delivery: dict[str, Any], attempts: int, since: datetime | None
) -> Event:
    """Return the event for a delivery that failed (`dead`) or waits for the server's next day (`parked`).

    `delivery` holds delivery_id, dag_id, run_id, channel, rule and reason, but no address. `attempts`
    distinguishes a second such event, after a resend, from the first."""
    outcome = "could not be delivered" if state == "dead" else "waits"
    what = f"a word of the rule {delivery['rule']!r} by {delivery['channel']} {outcome}: {delivery['reason']}"
    event_id = f"delivery:{delivery['delivery_id']}:{state}:{attempts}"
    data = {"what": what, "since": stamp(since) if since else None, **delivery}
    return own_event(
        context, event_id, f"windsock.delivery.{state}", f"delivery {delivery['delivery_id']}", data
    )


REMEDY = (
    "It makes no runs, and no other watch looks at it, until somebody mends the cause and unpauses it "
    "in Airflow"
)


@dataclass(frozen=True)
class Cause:
    """The reason to assume that Airflow paused a DAG."""

    failed_runs: int
    """The DAG's max_consecutive_failed_dag_runs: so many of its last runs failed."""
    is_certain: bool
    """True if Airflow's audit log says so. Otherwise the audit log could not be read."""


def auto_paused_id(dag_id: str, pause: int) -> str:
    """Return the id of the event of a DAG that Airflow paused."""
    return f"dag_auto_paused:{digest(dag_id, str(pause))}"


def auto_paused(context: WatchContext, dag_id: str, pause: int, cause: Cause) -> Event:
    """Return the event for a DAG that Airflow paused.
    `pause` is the number of the DAG's pauses that the log knows."""
    who = "Airflow itself" if cause.is_certain else "Airflow itself, most likely"
    runs = "run" if cause.failed_runs == 1 else f"{cause.failed_runs} runs"
    why = f"its last {runs} failed, which is its max_consecutive_failed_dag_runs"
    data = {
        "what": f"{dag_id} was paused by {who}: {why}",
        "remedy": REMEDY,
        "since": stamp(context.now),
        "dag_id": dag_id,
        "failed_runs": cause.failed_runs,
        "is_certain": cause.is_certain,
    }
    return own_event(context, auto_paused_id(dag_id, pause), "windsock.dag.auto_paused", dag_id, data)


def dag_recovered(context: WatchContext, what: str, dag_id: str, pause: int, since: datetime) -> Event:
    """Return the event for a DAG that is no longer paused by Airflow."""
    data = {
        "what": what,
        "since": stamp(since),
        "dag_id": dag_id,
        "lasted_seconds": (context.now - since).total_seconds(),
    }
    event_id = auto_paused_id(dag_id, pause) + RECOVERED
    return own_event(context, event_id, "windsock.dag.recovered", dag_id, data)
