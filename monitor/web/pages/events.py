"""The events and the deliveries: one read of the database each, then a template."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import field_validator
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor.delivery.channels.mailbox import filed_as
from monitor.event_log import cursor, read
from monitor.event_log.cursor import Cursor
from monitor.event_log.filters import FILTERS, Visible
from monitor.event_log.read import Logged
from monitor.notifications.outbox import queries
from monitor.notifications.outbox.queries import Wanted
from monitor.web import rule_descriptions
from monitor.web.api import deliveries
from monitor.web.dependencies import PageReader
from monitor.web.paths import redirect
from monitor.web.query_params import EventsQuery, Id
from monitor.web.services import Here, Services
from monitor.web.templating import EventLine, render

OTHERS = 50  # deliveries of the same text to others

LOCAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?")
"""What a browser sends of an `<input type="datetime-local">`."""

router = APIRouter(include_in_schema=False)


class EventsForm(EventsQuery):
    """The same as a form sends it, with fields that were left empty."""

    @field_validator(*FILTERS, mode="before")
    @classmethod
    def _filled(cls, values: Any) -> Any:
        return filled(values)


def filled(given: Any) -> Any:
    """What a form sent for a field, without what was left empty. A moment from its clock has no zone: UTC."""
    if isinstance(given, list):
        return [value for value in given if value]
    if isinstance(given, str) and LOCAL.fullmatch(given):
        return f"{given}Z"
    return given or None


def live(connection: Connection) -> dict[str, Any]:
    """What a page that updates itself needs: the place in the log that it shows."""
    state = cursor.state(connection)
    return {"cursor": Cursor(state.epoch, state.last_seq)}


def lines(events: list[Logged]) -> list[EventLine]:
    return [EventLine.of(event) for event in events]


@router.get("/events/list")
async def events(
    request: Request, here: Here, reader: PageReader, query: Annotated[EventsForm, Query()]
) -> HTMLResponse:
    """The log, page by page."""

    def look(connection: Connection) -> dict[str, Any]:
        found, following = read.read_page(
            connection, query.cursor, query.limit, query.filter(), reader.visible
        )
        return live(connection) | {
            "events": lines(found),
            "unnotified": rule_descriptions.of_events(connection, found, reader.visible),
            "next": following,
        }

    shown = await here.database.read(look)
    given = query.model_dump(exclude={"cursor", "limit"}, exclude_defaults=True)
    return render(request, "events.html", reader, given=given, is_first=query.cursor is None, **shown)


def airflow_url(here: Services, deployment: str) -> str | None:
    """Where people find this deployment's Airflow, or None where that is not known."""
    return here.settings.airflow_pages.get(deployment)


@router.get("/deliveries/{delivery_id}")
async def delivery(request: Request, here: Here, reader: PageReader, delivery_id: Id) -> HTMLResponse:
    """One delivery: its state and why, the events that it tells of, and each attempt."""
    visible = await here.gate.sight(reader)
    found = await here.database.read(lambda connection: _delivery(connection, delivery_id, visible))
    if found is None:
        raise HTTPException(404, f"No delivery {delivery_id} is known here.")
    filed = (filed_as(attempt.answer) for attempt in reversed(found["ledger"])) if here.mailbox else ()
    letter_id = next((mail_id for mail_id in filed if mail_id), None)
    shown = found.pop("live") | {"delivery": found, "letter_id": letter_id}
    return render(request, "delivery.html", reader, **shown)


def _delivery(connection: Connection, delivery_id: int, visible: Visible) -> dict[str, Any] | None:
    found = deliveries.detail(connection, delivery_id, visible)
    if found is None:
        return None
    told = read.of_seqs(connection, [one.event_seq for one in found["decisions"]], visible)
    others = queries.deliveries(
        connection, OTHERS, wanted=Wanted(notification_id=found["notification_id"]), visible=visible
    )
    return found | {
        "live": live(connection),
        "events": {event.seq: EventLine.of(event) for event in told},
        "others": [one for one in others if one.id != delivery_id],
    }


@router.post("/deliveries/{delivery_id}/resend")
async def resend(request: Request, here: Here, reader: PageReader, delivery_id: Id) -> RedirectResponse:
    """The button on that page."""
    await deliveries.resend(request, here, reader, delivery_id)
    return redirect(request, f"/deliveries/{delivery_id}")
