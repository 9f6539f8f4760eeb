"""Incidents: what is wrong, since when, who has acknowledged it or taken it over."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor.event_log.filters import AllowedDags
from monitor.events.data import Moment
from monitor.notifications import incident_transitions, incidents
from monitor.notifications.incidents import Incident
from monitor.notifications.outbox import decisions, queries
from monitor.notifications.outbox.queries import DeliveryFilter
from monitor.plain_text import no_nul
from monitor.web.api.models import IncidentDetail, IncidentPage, IncidentResponse
from monitor.web.auth.authenticator import Principal
from monitor.web.dependencies import ApiPrincipal, require_csrf
from monitor.web.query_params import MAX_PAGE, Id, IncidentsQuery, LedgerQuery
from monitor.web.responses import (
    PROBLEMS,
    WRITING,
    ETagRoute,
    Paging,
    cut_ledger,
    cut_page,
    etag_responses,
    problems,
)
from monitor.web.services import Services, ServicesDep
from monitor.web.silence_validation import MAX_REASON, MAX_SILENCE

router = APIRouter(prefix="/api/v1/incidents", tags=["incidents"], responses=PROBLEMS, route_class=ETagRoute)
MAX_ACKNOWLEDGEMENT = MAX_SILENCE
"""The longest time until an acknowledgement lapses. People do not plan for longer."""
Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_REASON),
    AfterValidator(no_nul),
]


class IncidentCloseBody(BaseModel):
    """The body of a request to close an incident."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "the DAG was deleted"}]}
    )
    reason: Reason


class Acknowledgement(BaseModel):
    """The body of a request to acknowledge an incident."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "the source is down, a ticket is open"}]}
    )
    reason: Reason
    until: Moment | None = Field(
        None, description="RFC 3339: when it lapses, and reminders go on; null: when the incident ends"
    )


@router.get(
    "", response_model=IncidentPage, operation_id="listIncidents", responses=etag_responses(listed=True)
)
async def all_incidents(
    services: ServicesDep, principal: ApiPrincipal, pager: Paging, query: Annotated[IncidentsQuery, Query()]
) -> dict[str, Any]:
    """Return incidents, newest first."""
    allowed_dags, now = await services.authenticator.get_permissions(principal), services.clock()
    rows = await services.database.read(
        lambda connection: incidents.page(
            connection, query.limit + 1, query.cursor, query.to_filter(now), allowed_dags
        )
    )
    return pager.page("incidents", (row.drop_lapsed(now) for row in rows), query.limit, lambda row: row.id)


@router.get(
    "/{incident_id}",
    response_model=IncidentDetail,
    operation_id="getIncident",
    responses=etag_responses() | problems(404),
)
async def incident(
    services: ServicesDep, principal: ApiPrincipal, incident_id: Id, query: Annotated[LedgerQuery, Query()]
) -> dict[str, Any]:
    """Return one incident, with each rule's decisions about its latest events and the deliveries of them."""
    allowed_dags = await services.authenticator.get_permissions(principal)
    found = await services.database.read(
        lambda connection: detail(connection, incident_id, allowed_dags, services.clock(), query.cursor)
    )
    if found is None:
        raise _unknown(incident_id)
    return found


def detail(
    connection: Connection,
    incident_id: int,
    allowed_dags: AllowedDags,
    now: datetime,
    before: int | None = None,
) -> dict[str, Any] | None:
    """Return an incident with its ledger, or None if the reader may not see it or it does not exist."""
    found = incidents.find(connection, incident_id, allowed_dags)
    if found is None:
        return None
    incident = found.drop_lapsed(now)
    ledger = load_ledger(connection, incident_id, allowed_dags, before)
    return vars(incident) | {"status": incident.status} | ledger


def load_ledger(
    connection: Connection,
    incident_id: int,
    allowed_dags: AllowedDags,
    before: int | None = None,
    limit: int = MAX_PAGE,
) -> dict[str, Any]:
    """Return a page of the decisions about an incident, and its latest deliveries."""
    decided = decisions.decision_page(connection, limit + 1, before, allowed_dags, incident_id=incident_id)
    page, following = cut_ledger(decided, limit)
    delivery_filter = DeliveryFilter(incident_id=incident_id)
    sent = queries.deliveries(
        connection, limit + 1, delivery_filter=delivery_filter, allowed_dags=allowed_dags
    )
    mails, more_mails = cut_page(sent, limit, lambda mail: mail.id)
    return {"decisions": page, "next": following, "deliveries": mails, "next_deliveries": more_mails}


@router.post(
    "/{incident_id}/acknowledgement",
    response_model=IncidentResponse,
    response_description="The incident, as it is now",
    operation_id="acknowledgeIncident",
    responses=WRITING | problems(404, 409),
)
async def acknowledge(
    request: Request,
    services: ServicesDep,
    principal: ApiPrincipal,
    incident_id: Id,
    acknowledgement: Acknowledgement,
) -> Incident:
    """Stop follow-ups and reminders, for everybody, until a moment or until the incident ends.
    Its end is still notified."""
    await require_csrf(request, principal)
    return await acknowledge_by(
        services, principal, incident_id, acknowledgement.reason, acknowledgement.until
    )


async def acknowledge_by(
    services: Services, principal: Principal, incident_id: int, reason: str, until: datetime | None
) -> Incident:
    """Acknowledge an incident in a reader's name. Raises 404, 409, and 422 if `until` cannot be."""
    now = services.clock()
    if until is not None and not now < until <= now + MAX_ACKNOWLEDGEMENT:
        raise HTTPException(
            422,
            f"until: {until:%Y-%m-%d %H:%M} UTC is over, or more than {MAX_ACKNOWLEDGEMENT.days} days away; "
            "give a moment in between",
        )
    allowed_dags = await services.authenticator.get_permissions(principal)
    return await change(
        services,
        incident_id,
        allowed_dags,
        lambda connection: incidents.acknowledge(connection, incident_id, principal.name, reason, now, until),
    )


@router.delete(
    "/{incident_id}/acknowledgement",
    response_model=IncidentResponse,
    response_description="The incident, as it is now",
    operation_id="unacknowledgeIncident",
    responses=WRITING | problems(404, 409),
)
async def unacknowledge(
    request: Request, services: ServicesDep, principal: ApiPrincipal, incident_id: Id
) -> Incident:
    """Take the acknowledgement back."""
    await require_csrf(request, principal)
    allowed_dags = await services.authenticator.get_permissions(principal)
    return await change(
        services,
        incident_id,
        allowed_dags,
        lambda connection: incidents.unacknowledge(connection, incident_id),
    )


@router.post(
    "/{incident_id}/assignee",
    response_model=IncidentResponse,
    response_description="The incident, as it is now",
    operation_id="takeOverIncident",
    responses=WRITING | problems(404, 409),
)
async def take_over(
    request: Request, services: ServicesDep, principal: ApiPrincipal, incident_id: Id
) -> Incident:
    """Take it over: pages, the API and mails name you as its assignee. Notifications stay as they are."""
    await require_csrf(request, principal)
    return await assign_to(services, principal, incident_id, principal.name)


@router.delete(
    "/{incident_id}/assignee",
    response_model=IncidentResponse,
    response_description="The incident, as it is now",
    operation_id="releaseIncident",
    responses=WRITING | problems(404, 409),
)
async def release(
    request: Request, services: ServicesDep, principal: ApiPrincipal, incident_id: Id
) -> Incident:
    """Release the incident, so that no user has taken it over."""
    await require_csrf(request, principal)
    return await assign_to(services, principal, incident_id, None)


async def assign_to(
    services: Services, principal: Principal, incident_id: int, assignee: str | None
) -> Incident:
    """Record the user who has taken an incident over, or None. Raises 404 and 409."""
    allowed_dags = await services.authenticator.get_permissions(principal)
    return await change(
        services,
        incident_id,
        allowed_dags,
        lambda connection: incidents.assign(connection, incident_id, assignee, services.clock()),
    )


@router.post(
    "/{incident_id}/close",
    response_model=IncidentResponse,
    response_description="The incident, as it is now",
    operation_id="closeIncident",
    responses=WRITING | problems(404, 409),
)
async def close(
    request: Request,
    services: ServicesDep,
    principal: ApiPrincipal,
    incident_id: Id,
    close_body: IncidentCloseBody,
) -> Incident:
    """Close the incident by hand: nothing is wrong any more, or nothing will ever recover.
    A waiting notification of it is not sent, and this end notifies no one. The next failure opens another
    incident."""
    await require_csrf(request, principal)
    return await close_by(services, principal, incident_id, close_body.reason)


async def close_by(services: Services, principal: Principal, incident_id: int, reason: str) -> Incident:
    """Close an incident in a reader's name. Raises 404 and 409."""
    allowed_dags = await services.authenticator.get_permissions(principal)
    return await change(
        services,
        incident_id,
        allowed_dags,
        lambda connection: incident_transitions.close(
            connection, incident_id, services.clock(), principal.name, reason
        ),
    )


async def change(
    services: Services,
    incident_id: int,
    allowed_dags: AllowedDags,
    write: Callable[[Connection], Incident | None],
) -> Incident:
    """Change an incident that the reader may see and that is open. Raises 404 and 409."""

    def write_if_open(connection: Connection) -> Incident | None:
        incident = incidents.find(connection, incident_id, allowed_dags)
        if incident is not None and not incident.is_open:
            by = f" by {incident.closed_by}" if incident.closed_by else ""
            raise HTTPException(409, f"incident {incident_id} is closed{by}: {incident.closed_because}")
        return write(connection) if incident else None

    found = await services.database.write(write_if_open)
    if found is None:
        raise _unknown(incident_id)
    return found.drop_lapsed(services.clock())


def _unknown(incident_id: int) -> HTTPException:
    return HTTPException(404, f"no incident {incident_id} is known")
