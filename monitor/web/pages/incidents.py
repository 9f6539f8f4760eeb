"""The pages of incidents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import Field
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor.event_log import read
from monitor.event_log.filters import AllowedDags
from monitor.notifications import incidents
from monitor.notifications.incidents import Incident, IncidentFilter
from monitor.notifications.outbox.records import Decision, Delivery
from monitor.web.api import incidents as incidents_api
from monitor.web.api.incidents import change
from monitor.web.dependencies import PagePrincipal, require_csrf
from monitor.web.pages.events import lines_of, live
from monitor.web.pages.forms import Deed
from monitor.web.paths import redirect
from monitor.web.query_params import MAX_SEQ, Id, LedgerQuery, Paged
from monitor.web.responses import cut_page
from monitor.web.rule_descriptions import why_nobody
from monitor.web.services import ServicesDep
from monitor.web.templating import EventLine, render

SHOWN = 150  # decisions of a page, and deliveries: the latest, which tell how it stands


@dataclass(frozen=True)
class TimelineEntry:
    """One of: an event with what was decided about it; a delivery; a note."""

    at: datetime
    key: str
    event: EventLine | None = None
    decisions: tuple[Decision, ...] = ()
    delivery: Delivery | None = None
    note: str | None = None


def thread_of(
    connection: Connection, incident: Mapping[str, Any], allowed_dags: AllowedDags
) -> list[TimelineEntry]:
    """A page of its decisions and its ends. `incident` is as incidents_api.detail() gives it."""
    entries = [
        *_events(connection, incident, allowed_dags),
        # Behind the event that called for it, which has the same moment.
        *(
            TimelineEntry(delivery.created_at, f"told {delivery.id:020}", delivery=delivery)
            for delivery in incident["deliveries"]
        ),
        *_notes(incident),
    ]
    return sorted(entries, key=lambda entry: (entry.at, entry.key))


def _events(
    connection: Connection, incident: Mapping[str, Any], allowed_dags: AllowedDags
) -> list[TimelineEntry]:
    decided: dict[int, list[Decision]] = {}
    for decision in incident["decisions"]:
        decided.setdefault(decision.event_seq, []).append(decision)
    ends = {incident[name] for name in ("opened_seq", "last_seq", "closed_seq")} - {None}
    found = lines_of(connection, ends | decided.keys(), allowed_dags)
    received = read.find_received_times(connection, found)
    return [
        TimelineEntry(received[seq], f"event {seq:020}", event=line, decisions=tuple(decided.get(seq, ())))
        for seq, line in found.items()
    ]


def _notes(incident: Mapping[str, Any]) -> Sequence[TimelineEntry]:
    notes = []
    if incident["acked_at"]:
        text = f"acknowledged by {incident['acked_by']}: {incident['ack_reason']}"
        notes.append(TimelineEntry(incident["acked_at"], "word 1", note=text))
    if incident["closed_at"]:
        by = f" by {incident['closed_by']}" if incident["closed_by"] else ""
        notes.append(
            TimelineEntry(incident["closed_at"], "word 2", note=f"closed{by}: {incident['closed_because']}")
        )
    return notes


SHOWN_OPEN = 200  # of a page; more at once are one outage, and its first page says so


class IncidentsForm(Paged):
    open_cursor: int | None = Field(None, ge=1, le=MAX_SEQ)
    """Where the page of those that are open begins."""


def _number(incident: Incident) -> int:
    return incident.id


router = APIRouter(prefix="/incidents", include_in_schema=False)


@router.get("")
async def list_incidents(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    query: Annotated[IncidentsForm, Query()],
) -> HTMLResponse:
    """The open ones first, then those that are over, page by page."""
    allowed_dags = await services.authenticator.get_permissions(principal)

    def load(connection: Connection) -> dict[str, Any]:
        found = incidents.page(
            connection,
            query.limit + 1,
            query.cursor,
            IncidentFilter(incidents.CLOSED),
            allowed_dags=allowed_dags,
        )
        over, following = cut_page(found, query.limit, _number)
        going_on = incidents.page(
            connection,
            SHOWN_OPEN + 1,
            query.open_cursor,
            IncidentFilter(incidents.OPEN),
            allowed_dags=allowed_dags,
        )
        still_open, next_open = cut_page(going_on, SHOWN_OPEN, _number)
        return live(connection) | {
            "open": still_open,
            "next_open": next_open,
            "over": over,
            "next": following,
        }

    values = await services.database.read(load)
    return render(request, "incidents.html", principal, is_first=query.cursor is None, **values)


@router.get("/{incident_id}")
async def show_incident(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    incident_id: Id,
    query: Annotated[LedgerQuery, Query()],
) -> HTMLResponse:
    """What happened, what was decided and what was sent, in one thread."""
    allowed_dags = await services.authenticator.get_permissions(principal)
    values = await services.database.read(
        lambda connection: _load_incident(connection, incident_id, allowed_dags, query.cursor)
    )
    if values is None:
        raise HTTPException(404, f"No incident {incident_id} is known here.")
    return render(request, "incident.html", principal, is_first=query.cursor is None, **values)


def _load_incident(
    connection: Connection, incident_id: int, allowed_dags: AllowedDags, before: int | None
) -> dict[str, Any] | None:
    found = incidents_api.detail(connection, incident_id, allowed_dags, before, SHOWN)
    if found is None:
        return None
    nobody = list(why_nobody(found["decisions"]).values()) if not found["deliveries"] else []
    return live(connection) | {
        "incident": found,
        "thread": thread_of(connection, found, allowed_dags),
        "nobody": nobody[-1] if nobody else None,
    }


@router.post("/{incident_id}/acknowledge")
async def acknowledge(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    incident_id: Id,
    form: Annotated[Deed, Form()],
) -> RedirectResponse:
    """The form on that page; `action=take_back` undoes it."""
    await require_csrf(request, principal)
    allowed_dags = await services.authenticator.get_permissions(principal)

    def write(connection: Connection) -> Incident | None:
        if form.action == "take_back":
            return incidents.unacknowledge(connection, incident_id)
        return incidents.acknowledge(connection, incident_id, principal.name, form.why, services.clock())

    await change(services, incident_id, allowed_dags, write)
    return redirect(request, f"/incidents/{incident_id}")


@router.post("/{incident_id}/close")
async def close(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    incident_id: Id,
    form: Annotated[Deed, Form()],
) -> RedirectResponse:
    """The other form on that page."""
    await require_csrf(request, principal)
    if not form.reason:
        raise HTTPException(422, "reason: is empty; others want to know why the incident is closed")
    await incidents_api.close_by(services, principal, incident_id, form.reason)
    return redirect(request, f"/incidents/{incident_id}")
