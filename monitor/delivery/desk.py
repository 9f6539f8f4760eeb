"""What happens to a delivery before any mail server hears of it: confirm, tell, render."""

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor import event_log
from monitor.database import Database
from monitor.delivery.airflow import Airflow
from monitor.delivery.confirm import Confirmed, confirm
from monitor.delivery.storyteller import tell
from monitor.events import Event, parse_event
from monitor.events.data import DagRunData
from monitor.outbox import Delivery, Outcome, State
from monitor.render import Letter, Rendered, Renderer

PREPARE_SECONDS = 150.0  # bounds all questions to Airflow together, within the lease


class Desk:
    """`apis` are the Airflows that can be asked, by deployment; it may lack some or be empty."""

    def __init__(
        self, database: Database, apis: Mapping[str, Airflow], renderer: Renderer, confirm_grace: timedelta
    ) -> None:
        self._database = database
        self._apis = apis
        self._renderer = renderer
        self._grace = confirm_grace

    async def prepare(self, delivery: Delivery, now: datetime) -> Rendered | Outcome:
        """The mail, ready to be sent, or what else the delivery comes to.

        Raises asyncio.TimeoutError where Airflow answers, but all too slowly.
        """
        event = await self._database.read(lambda connection: _event(connection, delivery))
        if event is None:
            return Outcome(State.DEAD, "dead: its event is no longer in the log, so there is nothing to tell")
        if not isinstance(event.data, DagRunData):
            return Outcome(State.DEAD, f"dead: no mail is written of {event.type}")
        return await asyncio.wait_for(self._prepare(delivery, event, event.data, now), PREPARE_SECONDS)

    async def _prepare(
        self, delivery: Delivery, event: Event, data: DagRunData, now: datetime
    ) -> Rendered | Outcome:
        airflow = self._apis.get(delivery.deployment)
        verdict = await confirm(airflow, delivery, data, now, self._grace)
        if not isinstance(verdict, Confirmed):
            return verdict
        askable = None if verdict.unconfirmed else airflow
        story = await tell(self._database, askable, event, verdict.unconfirmed)
        letter = Letter(delivery.message_id, delivery.recipients, delivery.rule)
        try:
            return self._renderer.render(delivery.template, story, letter)
        except ValueError as error:
            return Outcome(State.DEAD, f"dead: the mail cannot be addressed: {error}")


def _event(connection: Connection, delivery: Delivery) -> Event | None:
    found = event_log.read_after(connection, delivery.event_seq - 1, 1).events
    if not found or found[0].seq != delivery.event_seq:
        return None
    return parse_event(json.loads(found[0].body))
