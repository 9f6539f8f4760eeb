"""The dashboard, `/`: urgent parts, running runs, recent failures and the health of every part.

The page answers "what should I do now?", on a screen on a wall and on a phone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection

from monitor.database.statements import Row
from monitor.event_log import read
from monitor.event_log.filters import AllowedDags, Filter
from monitor.event_log.projections import runs as runs_projection
from monitor.event_log.projections.runs import RunName, Strip, runs
from monitor.event_log.projections.state import RUNNING
from monitor.events.identity import spoken
from monitor.notifications import incidents, silences
from monitor.notifications.incidents import Incident, IncidentFilter
from monitor.notifications.outbox import queries
from monitor.rules.model import Watch
from monitor.watches.thresholds import HISTORY, unusual_after
from monitor.web.api import health
from monitor.web.dependencies import PagePrincipal
from monitor.web.incident_summary import summarize
from monitor.web.pages.events import airflow_url, lines, lines_of, live
from monitor.web.pages.runs import name_of
from monitor.web.services import PartHealth, Services, ServicesDep
from monitor.web.templating import EventLine, render

SHOWN_ATTENTION = 8  # of more at once, the list of incidents has the rest
SHOWN = 6  # rows of each list: what fits on a screen
SHOWN_RUNNING = 12
SHOWN_EVENTS = 10
LATELY = timedelta(hours=24)  # a failure stays on the page for a day
MINUTE = 60  # seconds
ENOUGH_RUNS = 3  # successful runs of a DAG, from which on a usual time is named
LATE = Watch(name="late", watch="stuck", floor=timedelta(minutes=1))
"""The measure of watches. A mark on a page may come sooner than the notification of a `stuck` watch."""
COUNTED = 100  # of runs, incidents and silences. Beyond that, "100 or more" says as much

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Failure:
    """A run that failed lately, and where to read on."""

    run: Mapping[str, Any]
    task: Mapping[str, Any] | None
    """The one that failed first."""
    incident: Incident | None
    """The incident of the failure's DAG. None if there is none."""
    recovery: EventLine | None
    """The event that ended the incident."""


@dataclass(frozen=True)
class RunningRun:
    """A running run for the dashboard."""

    run: Mapping[str, Any]
    strip: Strip
    usual: str | None
    """The median of the DAG's last successful runs. None if there are too few."""
    is_late: bool


@router.get("/")
async def now(request: Request, services: ServicesDep, principal: PagePrincipal) -> HTMLResponse:
    """Show the dashboard, from one read of the database and each part's report of its health."""
    allowed_dags, moment = await services.authenticator.get_permissions(principal), services.clock()
    values = await services.database.read(
        lambda connection: (
            _load_runs(connection, principal.allowed_dags, moment)
            | _load_activity(connection, principal.allowed_dags)
            | _load_incidents(connection, allowed_dags, moment)
        )
    )
    parts = await health.check(services, allowed_dags)
    parts_health = dict(sorted(parts.items(), key=_place))
    return render(
        *(request, "now.html", principal),
        parts_health=parts_health,
        wrong_parts=[name for name, part in parts_health.items() if _is_wrong(part)],
        unknown_parts=[
            name for name, part in parts_health.items() if part.status == "unknown" and not _is_wrong(part)
        ],
        problem=services.rules.problem,
        counted=COUNTED,
        airflows=_airflows(services),
        **values,
    )


ORDER = (
    "airflow",
    "scheduler",
    "triggerer",
    "dag-processor",
    "reconciler",
    "mail",
    "deliveries",
    "spool",
    "database",
    "log",
    "replicas",
)
"""The order in which people look for parts."""


def _place(part: tuple[str, PartHealth]) -> tuple[int, str]:
    kind = part[0].partition(" ")[0]
    return ORDER.index(kind) if kind in ORDER else len(ORDER), part[0]


def _is_wrong(part: PartHealth) -> bool:
    """Return True if the part needs attention. A part that is not set up needs none."""
    return part.status == "down" or (part.status == "unknown" and bool(part.remedy))


def _airflows(services: Services) -> dict[str, str | None]:
    return {name: airflow_url(services, name) for name in services.settings.airflow_pages}


def _load_runs(connection: Connection, allowed_dags: AllowedDags, now: datetime) -> dict[str, Any]:
    running = runs(connection, COUNTED, state=RUNNING, allowed_dags=allowed_dags)
    failed = [
        run
        for run in runs(connection, COUNTED, state="failed", allowed_dags=allowed_dags)
        if now - (run["end_date"] or run["start_date"] or now) <= LATELY
    ]
    succeeded = runs(connection, SHOWN, state="success", allowed_dags=allowed_dags)
    strips = runs_projection.strips(connection, [name_of(run) for run in running[:SHOWN_RUNNING] + succeeded])
    return {
        "running": _with_usual(connection, running[:SHOWN_RUNNING], strips, now),
        "running_number": len(running),
        "failed_number": len(failed),
        "failures": _with_causes(connection, failed[:SHOWN], allowed_dags),
        "succeeded": [(run, strips[name_of(run)]) for run in succeeded],
    }


def _with_usual(
    connection: Connection, running: list[Row], strips: Mapping[RunName, Strip], now: datetime
) -> list[RunningRun]:
    names = {(run["deployment"], run["dag_id"]) for run in running}
    lengths = runs_projection.lengths_of_each(connection, names, HISTORY)
    return [
        _compare(run, strips[name_of(run)], lengths[run["deployment"], run["dag_id"]], now) for run in running
    ]


def _compare(run: Mapping[str, Any], strip: Strip, lengths: Sequence[timedelta], now: datetime) -> RunningRun:
    """Hold a run against the earlier runs of its DAG."""
    seconds = [length.total_seconds() for length in lengths if length >= timedelta(0)]
    usual = _describe_usual(median(seconds)) if len(seconds) >= ENOUGH_RUNS else None
    bound = unusual_after(lengths, LATE.floor, LATE.spreads)
    start: datetime | None = run["start_date"]
    is_late = bound is not None and start is not None and now - start > bound.after
    return RunningRun(run, strip, usual, is_late)


def _describe_usual(seconds: float) -> str:
    """Return a duration as people say it: without seconds from two minutes on."""
    if seconds >= 2 * MINUTE:
        seconds = MINUTE * round(seconds / MINUTE)
    return spoken(timedelta(seconds=seconds)) if seconds >= 1 else "less than 1 s"


def _with_causes(connection: Connection, failed: Sequence[Row], allowed_dags: AllowedDags) -> list[Failure]:
    tasks = runs_projection.first_failures(connection, [name_of(run) for run in failed])
    found = incidents.latest_of_each(connection, [_place_of(run) for run in failed])
    of_runs = [_keep_if_covers(found.get(_place_of(run)), run) for run in failed]
    seqs = {incident.closed_seq for incident in of_runs if incident and incident.closed_seq}
    ends = lines_of(connection, seqs, allowed_dags)
    return [
        Failure(
            run, tasks.get(name_of(run)), incident, ends.get(incident.closed_seq or 0) if incident else None
        )
        for run, incident in zip(failed, of_runs, strict=True)
    ]


def _place_of(run: Row) -> tuple[str, str, int]:
    """Return which incident a failed run belongs to: the deployment, the key, and the latest seq."""
    return run["deployment"], f"dag:{run['dag_id']}", run["last_seq"]


def _keep_if_covers(incident: Incident | None, run: Row) -> Incident | None:
    """Return the incident if it was open when the run failed."""
    if incident is None or incident.closed_at is None or run["end_date"] is None:
        return incident
    return incident if incident.closed_at >= run["end_date"] else None


def _load_activity(connection: Connection, allowed_dags: AllowedDags) -> dict[str, Any]:
    return live(connection) | {
        "events": lines(read.read_before(connection, None, SHOWN_EVENTS, Filter(), allowed_dags)),
        "deliveries": queries.deliveries(connection, SHOWN, allowed_dags=allowed_dags),
    }


def _load_incidents(connection: Connection, allowed_dags: AllowedDags, now: datetime) -> dict[str, Any]:
    """Load incidents and silences, for those who may see them."""
    still_open = incidents.page(
        connection, COUNTED, incident_filter=IncidentFilter(incidents.OPEN), allowed_dags=allowed_dags
    )
    found = [incident.drop_lapsed(now) for incident in still_open]
    unattended = [incident for incident in found if not incident.acked_by]
    shown = unattended[:SHOWN_ATTENTION]
    summaries = summarize(connection, shown, allowed_dags)
    return {
        "attention": [(incident, summaries[incident.id]) for incident in shown],
        "attention_number": len(unattended),
        "acknowledged": [incident for incident in found if incident.acked_by],
        "silenced": silences.page(connection, COUNTED, active_at=now, allowed_dags=allowed_dags),
    }
