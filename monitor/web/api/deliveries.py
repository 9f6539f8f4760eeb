"""The API of deliveries: which were sent, which were not and why, and a way to send one again."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor.event_log.filters import AllowedDags
from monitor.notifications.outbox import decisions, queries, queue, records
from monitor.notifications.outbox.queue import TooManyResends
from monitor.notifications.outbox.records import TransitionError
from monitor.web.api.models import DeliveryDetail, DeliveryPage, DeliveryResponse
from monitor.web.dependencies import ApiPrincipal, require_csrf
from monitor.web.query_params import MAX_PAGE, DeliveriesQuery, DeliveryLedgerQuery, Id
from monitor.web.responses import (
    PROBLEMS,
    WRITING,
    ETagRoute,
    Paging,
    cut_ledger,
    etag_responses,
    problems,
)
from monitor.web.services import ServicesDep

router = APIRouter(
    prefix="/api/v1/deliveries", tags=["deliveries"], responses=PROBLEMS, route_class=ETagRoute
)


@router.get(
    "", response_model=DeliveryPage, operation_id="listDeliveries", responses=etag_responses(listed=True)
)
async def deliveries(
    services: ServicesDep, principal: ApiPrincipal, pager: Paging, query: Annotated[DeliveriesQuery, Query()]
) -> dict[str, Any]:
    """Return deliveries, newest first. A notification has one delivery for each recipient."""
    allowed_dags = await services.authenticator.get_permissions(principal)
    rows = await services.database.read(
        lambda connection: queries.deliveries(
            connection, query.limit + 1, query.cursor, query.to_filter(), allowed_dags
        )
    )
    return pager.page("deliveries", rows, query.limit, lambda row: row.id)


@router.get(
    "/{delivery_id}",
    response_model=DeliveryDetail,
    operation_id="getDelivery",
    responses=etag_responses() | problems(404),
)
async def delivery(
    services: ServicesDep,
    principal: ApiPrincipal,
    delivery_id: Id,
    query: Annotated[DeliveryLedgerQuery, Query()],
) -> dict[str, Any]:
    """Return one delivery with its ledger.
    The ledger holds the latest attempts, with the server's replies, and the latest events that the delivery
    reports, with the reasons."""
    allowed_dags = await services.authenticator.get_permissions(principal)
    found = await services.database.read(
        lambda connection: detail(connection, delivery_id, allowed_dags, query)
    )
    if found is None:
        raise _unknown(delivery_id)
    return found


def detail(
    connection: Connection, delivery_id: int, allowed_dags: AllowedDags, query: DeliveryLedgerQuery
) -> dict[str, Any] | None:
    """Return a delivery, pages of its ledger and its decisions, or None if the reader may not see it."""
    found = queries.find(connection, delivery_id, allowed_dags)
    if found is None:
        return None
    attempts = queries.attempt_page(connection, delivery_id, MAX_PAGE + 1, query.attempts_cursor)
    ledger, next_attempts = cut_ledger(attempts, MAX_PAGE)
    # A group may hold what happened to several DAGs.
    decided = decisions.decision_page(
        connection=connection,
        limit=MAX_PAGE + 1,
        before=query.cursor,
        allowed_dags=allowed_dags,
        notification_id=found.notification_id,
    )
    page, following = cut_ledger(decided, MAX_PAGE)
    return vars(found) | {
        "ledger": ledger,
        "next_attempts": next_attempts,
        "decisions": page,
        "next": following,
    }


def may_see(allowed_dags: AllowedDags, deployment: str, dag_id: str | None) -> bool:
    """Return True if the reader may see what belongs to this DAG."""
    return allowed_dags is None or (dag_id is not None and (deployment, dag_id) in allowed_dags)


@router.post(
    "/{delivery_id}/resend",
    status_code=202,
    response_model=DeliveryResponse,
    response_description="It waits to be sent",
    operation_id="resendDelivery",
    responses=WRITING | problems(404, 409),
)
async def resend(
    request: Request, services: ServicesDep, principal: ApiPrincipal, delivery_id: Id
) -> records.Delivery:
    """Send the delivery again, now: to those who lack it, or else to all."""
    await require_csrf(request, principal)
    allowed_dags = await services.authenticator.get_permissions(principal)

    def again(connection: Connection) -> records.Delivery | None:
        if queries.find(connection, delivery_id, allowed_dags) is None:
            return None
        return queue.requeue(connection, delivery_id, services.clock())

    try:
        found = await services.database.write(again)
    except TransitionError as error:
        raise HTTPException(409, f"delivery {delivery_id}: {error}; try again in a moment") from None
    except TooManyResends as many:
        raise HTTPException(409, str(many)) from None
    if found is None:
        raise _unknown(delivery_id)
    services.wakes.delivery.set()
    return found


def _unknown(delivery_id: int) -> HTTPException:
    return HTTPException(404, f"no delivery {delivery_id} is known")
