"""Deliveries: what was mailed, what was not and why; and sending one again."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor import outbox
from monitor.event_log import Visible
from monitor.web.models import PROBLEMS, Delivery, DeliveryDetail, DeliveryPage
from monitor.web.querying import MAX_SEQ, DeliveriesQuery
from monitor.web.reader import ApiReader, require_csrf
from monitor.web.services import Here

router = APIRouter(prefix="/api/v1/deliveries", tags=["deliveries"], responses=PROBLEMS)
DeliveryId = Annotated[int, Path(ge=1, le=MAX_SEQ)]


@router.get("", response_model=DeliveryPage)
async def deliveries(
    here: Here, reader: ApiReader, query: Annotated[DeliveriesQuery, Query()]
) -> dict[str, Any]:
    """Deliveries, newest first."""
    rows = await here.database.read(
        lambda connection: outbox.deliveries(
            connection, query.limit, query.cursor, query.state, query.dag_id, visible=reader.visible
        )
    )
    return {"deliveries": rows, "next": rows[-1].id if len(rows) == query.limit else None}


@router.get("/{delivery_id}", response_model=DeliveryDetail)
async def delivery(here: Here, reader: ApiReader, delivery_id: DeliveryId) -> dict[str, Any]:
    """One delivery with its ledger: each attempt, in the mail server's words."""
    found = await here.database.read(lambda connection: detail(connection, delivery_id, reader.visible))
    if found is None:
        raise _unknown(delivery_id)
    return found


def detail(connection: Connection, delivery_id: int, visible: Visible) -> dict[str, Any] | None:
    """A delivery and its ledger, or None where there is none that the reader may see."""
    found = outbox.find(connection, delivery_id, visible)
    return vars(found) | {"ledger": outbox.attempts(connection, delivery_id)} if found else None


@router.post("/{delivery_id}/resend", status_code=202, response_model=Delivery)
async def resend(request: Request, here: Here, reader: ApiReader, delivery_id: DeliveryId) -> outbox.Delivery:
    """Send it again, now: to those who lack it, or to all where nobody does."""
    await require_csrf(request, reader)

    def again(connection: Connection) -> outbox.Delivery | None:
        if outbox.find(connection, delivery_id, reader.visible) is None:
            return None
        return outbox.requeue(connection, delivery_id, here.clock())

    try:
        found = await here.database.write(again)
    except outbox.TransitionError as error:
        raise HTTPException(409, f"delivery {delivery_id}: {error}; try again in a moment") from None
    if found is None:
        raise _unknown(delivery_id)
    here.wakes.delivery.set()
    return found


def _unknown(delivery_id: int) -> HTTPException:
    return HTTPException(404, f"no delivery {delivery_id} is known")
