"""`/`: what runs now, what failed lately, what is silenced, how every part is; for a wall and for a phone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection

from monitor.event_log import read
from monitor.event_log.filters import Filter, Visible
from monitor.event_log.projections import runs as runs_projection
from monitor.event_log.projections.runs import runs
from monitor.event_log.projections.state import RUNNING
from monitor.notifications import incidents, silences
from monitor.notifications.incidents import Incident, Wanted
from monitor.notifications.outbox import queries
from monitor.web.api import health
from monitor.web.dependencies import PageReader
from monitor.web.pages.events import airflow_url, lines, live
from monitor.web.pages.runs import name_of, with_strips
from monitor.web.services import Here, PartHealth, Services
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
async def now(request: Request, here: Here, reader: PageReader) -> HTMLResponse:
    """One read of the database, and the word of each part on how it is."""
    sight, moment = await here.gate.sight(reader), here.clock()
    shown = await here.database.read(
        lambda connection: (
            _runs(connection, reader.visible, moment)
            | _told(connection, reader.visible)
            | _wrong(connection, sight, moment)
        )
    )
    failures = [
        Failure(run, task, shown["open_of"].get((run["deployment"], run["dag_id"])))
        for run, task in shown.pop("failures")
    ]
    parts = await health.check(here, sight)
    return render(
        *(request, "now.html", reader),
        parts_health=dict(sorted(parts.items(), key=_place)),
        problem=here.rules.problem,
        failures=failures,
        counted=COUNTED,
        airflows=_airflows(here),
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


def _airflows(here: Services) -> dict[str, str | None]:
    return {name: airflow_url(here, name) for name in here.settings.airflow_pages}


def _runs(connection: Connection, visible: Visible, now: datetime) -> dict[str, Any]:
    running = runs(connection, COUNTED, state=RUNNING, visible=visible)
    failed = [
        run
        for run in runs(connection, COUNTED, state="failed", visible=visible)
        if now - (run["end_date"] or run["start_date"] or now) <= LATELY
    ]
    return {
        "running": with_strips(connection, running[:SHOWN_RUNNING]),
        "running_number": len(running),
        "failed_number": len(failed),
        "failures": [
            (run, runs_projection.first_failure(connection, name_of(run))) for run in failed[:SHOWN]
        ],
        "succeeded": with_strips(connection, runs(connection, SHOWN, state="success", visible=visible)),
    }


def _told(connection: Connection, visible: Visible) -> dict[str, Any]:
    return live(connection) | {
        "events": lines(read.read_before(connection, None, SHOWN_EVENTS, Filter(), visible)),
        "deliveries": queries.deliveries(connection, SHOWN, visible=visible),
    }


def _wrong(connection: Connection, visible: Visible, now: datetime) -> dict[str, Any]:
    """Incidents and silences, for those who may see them."""
    found = incidents.page(connection, COUNTED, wanted=Wanted(incidents.OPEN), visible=visible)
    return {
        "open": [one for one in found if not one.acked_by],
        "acknowledged": [one for one in found if one.acked_by],
        "open_of": {(one.deployment, one.dag_id): one for one in found if one.dag_id},
        "silenced": silences.page(connection, COUNTED, active_at=now, visible=visible),
    }
