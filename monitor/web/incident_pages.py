"""Incidents as people look at them: what is wrong now, and one of them from its first failure to its end."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor import incidents
from monitor.event_log import Visible
from monitor.web import incidents_api
from monitor.web.incidents_api import change
from monitor.web.pages import live
from monitor.web.prefix import redirect
from monitor.web.querying import Id, Paged
from monitor.web.reader import PageReader, require_csrf
from monitor.web.rendering import render
from monitor.web.services import Here
from monitor.web.signed import Deed
from monitor.web.thread import thread_of
from monitor.web.unnotified import why_nobody

SHOWN_OPEN = 200  # more at once are one outage, and its first page says so

router = APIRouter(prefix="/incidents", include_in_schema=False)


@router.get("")
async def all_of_them(
    request: Request, here: Here, reader: PageReader, query: Annotated[Paged, Query()]
) -> HTMLResponse:
    """The open ones first, then those that are over, page by page."""
    visible = await here.gate.sight(reader)

    def look(connection: Connection) -> dict[str, Any]:
        over = incidents.page(
            connection, query.limit, query.cursor, incidents.Wanted(incidents.CLOSED), visible=visible
        )
        return live(connection) | {
            "open": incidents.page(
                connection, SHOWN_OPEN, wanted=incidents.Wanted(incidents.OPEN), visible=visible
            ),
            "over": over,
            "next": over[-1].id if len(over) == query.limit else None,
        }

    shown = await here.database.read(look)
    return render(request, "incidents.html", reader, is_first=query.cursor is None, **shown)


@router.get("/{incident_id}")
async def one(request: Request, here: Here, reader: PageReader, incident_id: Id) -> HTMLResponse:
    """What happened, what was decided and what was sent, in one thread."""
    visible = await here.gate.sight(reader)
    shown = await here.database.read(lambda connection: _look(connection, incident_id, visible))
    if shown is None:
        raise HTTPException(404, f"No incident {incident_id} is known here.")
    return render(request, "incident.html", reader, **shown)


def _look(connection: Connection, incident_id: int, visible: Visible) -> dict[str, Any] | None:
    found = incidents_api.detail(connection, incident_id, visible)
    if found is None:
        return None
    nobody = list(why_nobody(found["decisions"]).values()) if not found["deliveries"] else []
    return live(connection) | {
        "incident": found,
        "thread": thread_of(connection, found, visible),
        "nobody": nobody[-1] if nobody else None,
    }


@router.post("/{incident_id}/acknowledge")
async def acknowledge(
    request: Request, here: Here, reader: PageReader, incident_id: Id, form: Annotated[Deed, Form()]
) -> RedirectResponse:
    """The form on that page; `action=take_back` undoes it."""
    await require_csrf(request, reader)
    visible = await here.gate.sight(reader)

    def write(connection: Connection) -> incidents.Incident | None:
        if form.action == "take_back":
            return incidents.unacknowledge(connection, incident_id)
        return incidents.acknowledge(connection, incident_id, reader.name, form.why, here.clock())

    await change(here, incident_id, visible, write)
    return redirect(request, f"/incidents/{incident_id}")


@router.post("/{incident_id}/close")
async def close(
    request: Request, here: Here, reader: PageReader, incident_id: Id, form: Annotated[Deed, Form()]
) -> RedirectResponse:
    """The other form on that page."""
    await require_csrf(request, reader)
    if not form.reason:
        raise HTTPException(422, "reason: is empty; others want to know why the incident is closed")
    await incidents_api.close_by(here, reader, incident_id, form.reason)
    return redirect(request, f"/incidents/{incident_id}")
