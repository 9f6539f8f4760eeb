"""What a delivery says: as it would be written now, from the log alone, for whoever looks at it on its page.

Nobody is asked and nothing is sent. The links that act for whoever holds them are left out: they are the
recipient's.
"""

import asyncio
import json
from dataclasses import replace
from html import escape

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor import event_log, outbox
from monitor.delivery.case import Case, cases_of
from monitor.delivery.storyteller import tell
from monitor.delivery.told import Told
from monitor.event_log import Visible
from monitor.events import Event, parse_event
from monitor.render import Letter, Rendered
from monitor.rules import Channel, Target
from monitor.web.deliveries_api import may_see
from monitor.web.mail_pages import in_a_frame
from monitor.web.querying import Id
from monitor.web.reader import PageReader
from monitor.web.services import Here, Services

router = APIRouter(include_in_schema=False)


@router.get("/deliveries/{delivery_id}/html")
async def preview(here: Here, reader: PageReader, delivery_id: Id) -> HTMLResponse:
    """What the frame on the delivery's page shows: a mail's HTML, or the text that other channels take."""
    visible = reader.visible
    case = await here.database.read(lambda connection: _case(connection, here, delivery_id, visible))
    if case is None:
        raise HTTPException(404, f"No delivery {delivery_id} is known here whose events the log still has.")
    try:
        written = await _written(here, case, visible)
    except ValueError as error:
        raise HTTPException(409, f"The delivery {delivery_id} cannot be addressed: {error}.") from None
    is_mail = case.delivery.channel is Channel.EMAIL
    return in_a_frame(written.html if is_mail else f"<pre>{escape(written.text)}</pre>")


def _case(connection: Connection, here: Services, delivery_id: int, visible: Visible) -> Case | None:
    """None too where it tells of a DAG that the reader may not see: a group may hold several."""
    delivery = outbox.find(connection, delivery_id, visible)
    if delivery is None:
        return None
    case = cases_of(connection, [delivery], here.rules.current, here.clock()).get(delivery.id)
    if case is None or not case.events:
        return None
    seen = all(may_see(visible, event.deployment, event.dag_id) for event in case.events)
    return replace(case, events=tuple(_seen(event, visible) for event in case.events)) if seen else None


def _seen(event: Event, visible: Visible) -> Event:
    """Without the runs that an asset's update began, of DAGs that the reader may not see."""
    body = event_log.seen_body(event.type, event.body, visible)
    return event if body is event.body else parse_event(json.loads(body))


async def _written(here: Services, case: Case, visible: Visible) -> Rendered:
    """Raises ValueError."""
    delivery = case.delivery
    told = Told(
        *(delivery, case.notification, case.events, case.incident),
        earlier=case.earlier,
        openings=case.openings,
    )
    letter = Letter(
        *(delivery.message_id, delivery.recipient, delivery.rule),
        timezone=here.rules.current.timezone_of(Target(delivery.channel, delivery.recipient)),
        references=case.thread.references,
        subject=case.thread.subject,
    )
    story = await tell(here.database, None, told, visible=visible)
    return await asyncio.to_thread(here.renderer.render, delivery.template, story, letter)
