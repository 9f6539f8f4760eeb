"""The dashboard, `/`: running runs, recent failures, silences and the health of every part.

The page is made for a screen on a wall and for a phone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection

from monitor.event_log import read
from monitor.event_log.filters import AllowedDags, Filter
from monitor.event_log.projections import runs as runs_projection
from monitor.event_log.projections.runs import runs
from monitor.event_log.projections.state import RUNNING
from monitor.notifications import incidents, silences
from monitor.notifications.incidents import Incident, IncidentFilter
from monitor.notifications.outbox import queries
from monitor.web.api import health
from monitor.web.dependencies import PagePrincipal
from monitor.web.pages.events import airflow_url, lines, live
from monitor.web.pages.runs import name_of, with_strips
from monitor.web.services import PartHealth, Services, ServicesDep
from monitor.web.templating import render

SHOWN = 8  # rows of each list: what fits on a screen
SHOWN_RUNNING = 12
SHOWN_EVENTS = 16
LATELY = timedelta(hours=24)  # a failure is news for a day
COUNTED = 100  # of runs, incidents and silences; of more, "100 or more" tells as much

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Failure:
    """A run that failed lately, and where to read on."""

    run: Mapping[str, Any]
    task: Mapping[str, Any] | None
    """The one that failed first."""
    incident: Incident | None
    """Of its DAG, where one is open."""


@router.get("/")
async def now(request: Request, services: ServicesDep, principal: PagePrincipal) -> HTMLResponse:
    """One read of the database, and the word of each part on how it is."""
    allowed_dags, moment = await services.authenticator.get_permissions(principal), services.clock()
    values = await services.database.read(
        lambda connection: (
            _runs(connection, principal.allowed_dags, moment)
            | _load_activity(connection, principal.allowed_dags)
            | _wrong(connection, allowed_dags, moment)
        )
    )
    failures = [
        Failure(run, task, values["open_of"].get((run["deployment"], run["dag_id"])))
        for run, task in values.pop("failures")
    ]
    parts = await health.check(services, allowed_dags)
    return render(
        *(request, "now.html", principal),
        parts_health=dict(sorted(parts.items(), key=_place)),
        problem=services.rules.problem,
        failures=failures,
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
"""What people look for first."""


def _place(part: tuple[str, PartHealth]) -> tuple[int, str]:
    kind = part[0].partition(" ")[0]
    return ORDER.index(kind) if kind in ORDER else len(ORDER), part[0]


def _airflows(services: Services) -> dict[str, str | None]:
    return {name: airflow_url(services, name) for name in services.settings.airflow_pages}


def _runs(connection: Connection, allowed_dags: AllowedDags, now: datetime) -> dict[str, Any]:
    running = runs(connection, COUNTED, state=RUNNING, allowed_dags=allowed_dags)
    failed = [
        run
        for run in runs(connection, COUNTED, state="failed", allowed_dags=allowed_dags)
        if now - (run["end_date"] or run["start_date"] or now) <= LATELY
    ]
    return {
        "running": list(with_strips(connection, running[:SHOWN_RUNNING])),
        "running_number": len(running),
        "failed_number": len(failed),
        "failures": [
            (run, runs_projection.first_failure(connection, name_of(run))) for run in failed[:SHOWN]
        ],
        "succeeded": list(
            with_strips(connection, runs(connection, SHOWN, state="success", allowed_dags=allowed_dags))
        ),
    }


def _load_activity(connection: Connection, allowed_dags: AllowedDags) -> dict[str, Any]:
    return live(connection) | {
        "events": lines(read.read_before(connection, None, SHOWN_EVENTS, Filter(), allowed_dags)),
        "deliveries": queries.deliveries(connection, SHOWN, allowed_dags=allowed_dags),
    }


def _wrong(connection: Connection, allowed_dags: AllowedDags, now: datetime) -> dict[str, Any]:
    """Incidents and silences, for those who may see them."""
    found = incidents.page(
        connection, COUNTED, incident_filter=IncidentFilter(incidents.OPEN), allowed_dags=allowed_dags
    )
    return {
        "open": [incident for incident in found if not incident.acked_by],
        "acknowledged": [incident for incident in found if incident.acked_by],
        "open_of": {
            (incident.deployment, incident.dag_id): incident for incident in found if incident.dag_id
        },
        "silenced": silences.page(connection, COUNTED, active_at=now, allowed_dags=allowed_dags),
    }
