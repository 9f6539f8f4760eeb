"""`/links/acknowledge/{token}`: say, from a mail, that somebody looks after an incident."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor import incidents
from monitor.incidents import Incident
from monitor.links import ACKNOWLEDGE
from monitor.web import signed
from monitor.web.rendering import render
from monitor.web.services import Here, Services
from monitor.web.signed import Deed

PATH = "/links/acknowledge/{token}"

router = APIRouter(include_in_schema=False)


@router.get(PATH)
async def ask(request: Request, here: Here, token: str) -> HTMLResponse:
    """The incident, and who looks after it."""
    incident = await _incident(here, token)
    return render(request, "link_acknowledge.html", None, incident=incident)


@router.post(PATH)
async def act(request: Request, here: Here, token: str, form: Annotated[Deed, Form()]) -> RedirectResponse:
    """Acknowledge, or take it back."""
    incident = await _incident(here, token)

    def write(connection: Connection) -> None:
        if form.action == "take_back":
            incidents.unacknowledge(connection, incident.id)
        else:
            incidents.acknowledge(connection, incident.id, form.who, form.why, here.clock())

    if incident.is_open:
        await here.database.write(write)
    return RedirectResponse(request.url.path, 303)


async def _incident(here: Services, token: str) -> Incident:
    """Raises LinkError."""
    incident_id = signed.read(here, ACKNOWLEDGE, token)["incident_id"]
    found = await here.database.read(lambda connection: incidents.find(connection, incident_id))
    if found is None:
        raise HTTPException(404, f"Incident {incident_id} is known here no more.")
    return found
