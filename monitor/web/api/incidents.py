"""Incidents: what is wrong, since when, who looks after it."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor.event_log.filters import AllowedDags
from monitor.notifications import incident_transitions, incidents
from monitor.notifications.incidents import Incident
from monitor.notifications.outbox import decisions, queries
from monitor.notifications.outbox.queries import DeliveryFilter
from monitor.web.api.deliveries import may_see
from monitor.web.api.models import IncidentDetail, IncidentPage, IncidentResponse
from monitor.web.auth.authenticator import Principal
from monitor.web.dependencies import ApiPrincipal, require_csrf
from monitor.web.query_params import MAX_PAGE, Id, IncidentsQuery, no_nul
from monitor.web.responses import PROBLEMS, WRITING, ETagRoute, Paging, etag_responses, problems
from monitor.web.services import Services, ServicesDep
from monitor.web.silence_validation import MAX_REASON

router = APIRouter(prefix="/api/v1/incidents", tags=["incidents"], responses=PROBLEMS, route_class=ETagRoute)
Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_REASON),
    AfterValidator(no_nul),
]


class IncidentCloseBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "the DAG was deleted"}]}
    )
    reason: Reason


class Acknowledgement(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "the source is down, a ticket is open"}]}
    )
    reason: Reason


@router.get(
    "", response_model=IncidentPage, operation_id="listIncidents", responses=etag_responses(listed=True)
)
async def all_incidents(
    services: ServicesDep, reader: ApiPrincipal, pager: Paging, query: Annotated[IncidentsQuery, Query()]
) -> dict[str, Any]:
    """Incidents, newest first."""
    visible = await services.gate.get_permissions(reader)
    rows = await services.database.read(
        lambda connection: incidents.page(
            connection, query.limit + 1, query.cursor, query.to_filter(), visible
        )
    )
    return pager.page("incidents", rows, query.limit, lambda row: row.id)


@router.get(
    "/{incident_id}",
    response_model=IncidentDetail,
    operation_id="getIncident",
    responses=etag_responses() | problems(404),
)
async def incident(services: ServicesDep, reader: ApiPrincipal, incident_id: Id) -> dict[str, Any]:
    """One incident, with what each rule made of its events and what was sent because of it."""
    visible = await services.gate.get_permissions(reader)
    found = await services.database.read(lambda connection: detail(connection, incident_id, visible))
    if found is None:
        raise _unknown(incident_id)
    return found


def detail(connection: Connection, incident_id: int, visible: AllowedDags) -> dict[str, Any] | None:
    """An incident with its decisions and deliveries, or None where there is none that the reader may see."""
    found = incidents.find(connection, incident_id, visible)
    if found is None:
        return None
    decided = decisions.decisions_of_incident(connection, incident_id)
    wanted = DeliveryFilter(incident_id=incident_id)
    return vars(found) | {
        "decisions": [one for one in decided if may_see(visible, one.deployment, one.dag_id)],
        "deliveries": queries.deliveries(connection, MAX_PAGE, wanted=wanted, visible=visible),
    }


@router.post(
    "/{incident_id}/acknowledgement",
    response_model=IncidentResponse,
    response_description="The incident, as it is now",
    operation_id="acknowledgeIncident",
    responses=WRITING | problems(404, 409),
)
async def acknowledge(
    request: Request, services: ServicesDep, reader: ApiPrincipal, incident_id: Id, given: Acknowledgement
) -> Incident:
    """Say that you look after it: nobody is reminded of it any more, and its end is notified."""
    await require_csrf(request, reader)
    visible = await services.gate.get_permissions(reader)
    return await change(
        services,
        incident_id,
        visible,
        lambda connection: incidents.acknowledge(
            connection, incident_id, reader.name, given.reason, services.clock()
        ),
    )


@router.delete(
    "/{incident_id}/acknowledgement",
    response_model=IncidentResponse,
    response_description="The incident, as it is now",
    operation_id="unacknowledgeIncident",
    responses=WRITING | problems(404, 409),
)
async def unacknowledge(
    request: Request, services: ServicesDep, reader: ApiPrincipal, incident_id: Id
) -> Incident:
    """Take it back."""
    await require_csrf(request, reader)
    visible = await services.gate.get_permissions(reader)
    return await change(
        services, incident_id, visible, lambda connection: incidents.unacknowledge(connection, incident_id)
    )


@router.post(
    "/{incident_id}/close",
    response_model=IncidentResponse,
    response_description="The incident, as it is now",
    operation_id="closeIncident",
    responses=WRITING | problems(404, 409),
)
async def close(
    request: Request, services: ServicesDep, reader: ApiPrincipal, incident_id: Id, given: IncidentCloseBody
) -> Incident:
    """Close it by hand: nothing is wrong any more, or nothing will ever recover. A notification of it
    that waits is not sent, and nobody is notified of this end. The next failure opens another incident."""
    await require_csrf(request, reader)
    return await close_by(services, reader, incident_id, given.reason)


async def close_by(services: Services, reader: Principal, incident_id: int, reason: str) -> Incident:
    """Close an incident in a reader's name. Raises 404 and 409."""
    visible = await services.gate.get_permissions(reader)
    return await change(
        services,
        incident_id,
        visible,
        lambda connection: incident_transitions.close(
            connection, incident_id, services.clock(), reader.name, reason
        ),
    )


async def change(
    services: Services, incident_id: int, visible: AllowedDags, write: Callable[[Connection], Incident | None]
) -> Incident:
    """Change an incident that the reader may see and that is open. Raises 404 and 409."""

    def write_if_open(connection: Connection) -> Incident | None:
        known = incidents.find(connection, incident_id, visible)
        if known is not None and not known.is_open:
            by = f" by {known.closed_by}" if known.closed_by else ""
            raise HTTPException(409, f"incident {incident_id} is closed{by}: {known.closed_because}")
        return write(connection) if known else None

    found = await services.database.write(write_if_open)
    if found is None:
        raise _unknown(incident_id)
    return found


def _unknown(incident_id: int) -> HTTPException:
    return HTTPException(404, f"no incident {incident_id} is known")
