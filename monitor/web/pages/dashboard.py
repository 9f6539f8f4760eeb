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
from monitor.web.pages.runs import add_strips, name_of
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
async def now(request: Request, services: ServicesDep, reader: PagePrincipal) -> HTMLResponse:
    """One read of the database, and the word of each part on how it is."""
    permissions, moment = await services.gate.get_permissions(reader), services.clock()
    shown = await services.database.read(
        lambda connection: (
            _runs(connection, reader.visible, moment)
            | _load_activity(connection, reader.visible)
            | _wrong(connection, permissions, moment)
        )
    )
    failures = [
        Failure(run, task, shown["open_of"].get((run["deployment"], run["dag_id"])))
        for run, task in shown.pop("failures")
    ]
    parts = await health.check(services, permissions)
    return render(
        *(request, "now.html", reader),
        parts_health=dict(sorted(parts.items(), key=_place)),
        problem=services.rules.problem,
        failures=failures,
        counted=COUNTED,
        airflows=_airflows(services),
        **shown,
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


def _runs(connection: Connection, visible: AllowedDags, now: datetime) -> dict[str, Any]:
    running = runs(connection, COUNTED, state=RUNNING, visible=visible)
    failed = [
        run
        for run in runs(connection, COUNTED, state="failed", visible=visible)
        if now - (run["end_date"] or run["start_date"] or now) <= LATELY
    ]
    return {
        "running": add_strips(connection, running[:SHOWN_RUNNING]),
        "running_number": len(running),
        "failed_number": len(failed),
        "failures": [
            (run, runs_projection.first_failure(connection, name_of(run))) for run in failed[:SHOWN]
        ],
        "succeeded": add_strips(connection, runs(connection, SHOWN, state="success", visible=visible)),
    }


def _load_activity(connection: Connection, visible: AllowedDags) -> dict[str, Any]:
    return live(connection) | {
        "events": lines(read.read_before(connection, None, SHOWN_EVENTS, Filter(), visible)),
        "deliveries": queries.deliveries(connection, SHOWN, visible=visible),
    }


def _wrong(connection: Connection, visible: AllowedDags, now: datetime) -> dict[str, Any]:
    """Incidents and silences, for those who may see them."""
    found = incidents.page(connection, COUNTED, wanted=IncidentFilter(incidents.OPEN), visible=visible)
    return {
        "open": [one for one in found if not one.acked_by],
        "acknowledged": [one for one in found if one.acked_by],
        "open_of": {(one.deployment, one.dag_id): one for one in found if one.dag_id},
        "silenced": silences.page(connection, COUNTED, active_at=now, visible=visible),
    }
