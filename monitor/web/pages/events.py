"""The pages of events and of one delivery. Each page reads the database once."""

import re
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import field_validator
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor.database.statements import fit
from monitor.delivery.channels.mailbox import parse_filed_id
from monitor.event_log import cursor, read
from monitor.event_log.cursor import Cursor
from monitor.event_log.filters import FILTERS, AllowedDags
from monitor.event_log.read import LoggedEvent
from monitor.notifications.outbox import queries
from monitor.notifications.outbox.queries import DeliveryFilter
from monitor.rules.validation import TYPES
from monitor.web import rule_descriptions
from monitor.web.api import deliveries
from monitor.web.dependencies import PagePrincipal
from monitor.web.paths import redirect
from monitor.web.query_params import DeliveryLedgerQuery, EventsQuery, Id, ListFilters, list_filters
from monitor.web.responses import MAX_HTML_BYTES
from monitor.web.services import Services, ServicesDep
from monitor.web.templating import EventLine, render

OTHERS = 50  # deliveries of the same text to others

LOCAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?")
"""The form in which a browser sends an `<input type="datetime-local">`."""

router = APIRouter(include_in_schema=False)


class EventsForm(EventsQuery):
    """The same as a form sends it, with fields that were left empty."""

    @field_validator(*FILTERS, mode="before")
    @classmethod
    def _drop_empty(cls, values: Any) -> Any:
        return drop_empty(values)


def drop_empty(query_value: Any) -> Any:
    """Return a form's value without what was left empty.
    A moment from the form's clock has no zone and is UTC."""
    if isinstance(query_value, list):
        return [value for value in query_value if value]
    if isinstance(query_value, str) and LOCAL.fullmatch(query_value):
        return f"{query_value}Z"
    return query_value or None


def live(connection: Connection) -> dict[str, Any]:
    """Return what a page that updates itself needs: the place in the log that it shows."""
    state = cursor.state(connection)
    return {"cursor": Cursor(state.epoch, state.last_seq)}


def lines(events: list[LoggedEvent]) -> list[EventLine]:
    """Return the lines of events."""
    return EventLine.of_each(events)


@router.get("/events/list")
async def events(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    list_query: Annotated[
        ListFilters[EventsForm], Depends(list_filters(EventsForm, {"type": TYPES}, wildcards="*?"))
    ],
) -> HTMLResponse:
    """Show the log, page by page."""
    query = list_query.query

    def load(connection: Connection) -> dict[str, Any]:
        found, following = read.read_page(
            connection, query.cursor, query.limit, query.filter(), principal.allowed_dags, read.MAX_READ_BYTES
        )
        page, has_more = fit(lines(found), query.limit, MAX_HTML_BYTES)
        return live(connection) | {
            "events": page,
            "unnotified": rule_descriptions.find_unnotified(connection, found, principal.allowed_dags),
            "next": page[-1].seq if has_more else following,
        }

    values = await services.database.read(load)
    if list_query.mistakes:
        values |= {"events": [], "next": None}
    return render(
        request,
        "events.html",
        principal,
        status=list_query.status,
        mistakes=list_query.mistakes,
        given=query.model_dump(exclude={"cursor", "limit"}, exclude_defaults=True),
        is_first=query.cursor is None and not list_query.mistakes,
        **values,
    )


def airflow_url(services: Services, deployment: str) -> str | None:
    """Return the address at which people find this deployment's Airflow, or None if it is unknown."""
    return services.settings.airflow_pages.get(deployment)


@router.get("/deliveries/{delivery_id}")
async def delivery(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    delivery_id: Id,
    query: Annotated[DeliveryLedgerQuery, Query()],
) -> HTMLResponse:
    """Show one delivery: its state and why, the events that it reports, and each attempt."""
    allowed_dags = await services.authenticator.get_permissions(principal)
    found = await services.database.read(
        lambda connection: _delivery(connection, delivery_id, allowed_dags, query)
    )
    if found is None:
        raise HTTPException(404, f"No delivery {delivery_id} is known here.")
    filed = (
        (parse_filed_id(attempt.answer) for attempt in reversed(found["ledger"])) if services.mailbox else ()
    )
    letter_id = next((mail_id for mail_id in filed if mail_id), None)
    values = found.pop("live") | {"delivery": found, "letter_id": letter_id}
    return render(request, "delivery.html", principal, **values)


def _delivery(
    connection: Connection, delivery_id: int, allowed_dags: AllowedDags, query: DeliveryLedgerQuery
) -> dict[str, Any] | None:
    found = deliveries.detail(connection, delivery_id, allowed_dags, query)
    if found is None:
        return None
    same_notification = queries.deliveries(
        connection,
        OTHERS,
        delivery_filter=DeliveryFilter(notification_id=found["notification_id"]),
        allowed_dags=allowed_dags,
    )
    return found | {
        "live": live(connection),
        "events": lines_of(connection, [decision.event_seq for decision in found["decisions"]], allowed_dags),
        "others": [same for same in same_notification if same.id != delivery_id],
    }


READ_TOGETHER = 20  # events that a page shows a line of: their bodies may have 256 KiB each


def lines_of(connection: Connection, seqs: Iterable[int], allowed_dags: AllowedDags) -> dict[int, EventLine]:
    """Return lines of these events, by their seq, as far as they are kept and the reader may see them."""
    in_turn, found = sorted(set(seqs)), {}
    for start in range(0, len(in_turn), READ_TOGETHER):
        logged = read.find_by_seqs(connection, in_turn[start : start + READ_TOGETHER], allowed_dags)
        found.update({line.seq: line for line in EventLine.of_each(logged)})
    return found


@router.post("/deliveries/{delivery_id}/resend")
async def resend(
    request: Request, services: ServicesDep, principal: PagePrincipal, delivery_id: Id
) -> RedirectResponse:
    """Send the delivery again, from its page."""
    await deliveries.resend(request, services, principal, delivery_id)
    return redirect(request, f"/deliveries/{delivery_id}")
