"""Ask Airflow whether the success that closed an incident is so, whether or not anybody is told of it.

A success closes its incident at once, and may be untrue: a hook fires before Airflow commits, and whoever may
report can say anything. An incident whose end Airflow does not confirm is opened again with all that it had
gathered. If Airflow cannot be asked, the success stands.
"""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from monitor import event_log, incidents
from monitor.clock import Clock
from monitor.database import Database
from monitor.delivery.airflow import Airflow
from monitor.delivery.confirm import Answer, Word, ask_all
from monitor.delivery.retry import look_again
from monitor.delivery.verdict import SETTLE_FOR
from monitor.events import Event, parse_event
from monitor.incidents import Incident
from monitor.notify import Engine
from monitor.replicas import DELIVERY, signal
from monitor.wake import Wake

EVERY = 2.0  # seconds; people may look at an incident that is closed by mistake meanwhile
AT_ONCE = 50  # incidents whose events are read, and asked about, together

logger = logging.getLogger(__name__)


class Recoveries:
    """`run()` is the background task; `look()` is one turn of it. `apis` may lack some deployments."""

    def __init__(
        self, database: Database, apis: Mapping[str, Airflow], engine: Engine, delivery: Wake, clock: Clock
    ) -> None:
        self._database = database
        self._apis = apis
        self._engine = engine
        self._delivery = delivery
        self._clock = clock

    async def run(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.look()
            except SQLAlchemyError:
                logger.exception("no recovery is confirmed; trying again in %.0f s", EVERY)

    async def look(self) -> None:
        """Ask about every recovery that is due. Raises SQLAlchemyError."""
        now = self._clock()
        due = await self._database.read(lambda connection: _due(connection, now))
        if not due:
            return
        answers = await ask_all(self._apis, [event for _, event in due if event is not None])
        left = iter(answers)
        found = [(one, SO_FORGOTTEN if event is None else next(left)) for one, event in due]
        if await self._database.write(lambda connection: self._take_in(connection, found, now)):
            self._delivery.set()

    def _take_in(
        self, connection: Connection, found: Sequence[tuple[Incident, Answer]], now: datetime
    ) -> bool:
        """Answers whether anything is to be sent. Under the log's lock: nothing joins meanwhile."""
        event_log.lock(connection)
        as_it_is = incidents.find_all(connection, (one.id for one, _ in found))
        called_for = False
        for asked, answer in found:
            incident = as_it_is.get(asked.id)
            # Another replica, or a failure, may have opened it again: then another report closes it.
            if incident is None or incident.closed_seq != asked.closed_seq or incident.confirm_at is None:
                continue
            called_for |= self._settle(connection, incident, answer, now)
        if called_for:
            signal(connection, DELIVERY)
        return called_for

    def _settle(self, connection: Connection, incident: Incident, answer: Answer, now: datetime) -> bool:
        since = incident.confirm_since or now
        is_late = now - since >= SETTLE_FOR
        if answer.word is Word.SO or (answer.word is Word.NO_ANSWER and is_late):
            incidents.confirmed(connection, incident)
            return False
        if answer.word is not Word.NOT_SO and not is_late:
            incidents.confirm_later(connection, incident, look_again(since, now))
            return False
        logger.warning("incident %d is open again: %s", incident.id, answer.why)
        again = incidents.reopen(connection, incident, answer.why, now)
        event = _event(connection, again.incident.last_seq)
        if again.is_told_over and event is not None:
            self._engine.tell_reopened(connection, again.incident, event, now)
        return True


SO_FORGOTTEN = Answer(Word.SO, "the log has forgotten the report")


def _due(connection: Connection, now: datetime) -> list[tuple[Incident, Event | None]]:
    found = incidents.to_confirm(connection, now, AT_ONCE)
    return [(one, _event(connection, one.closed_seq)) for one in found]


def _event(connection: Connection, seq: int | None) -> Event | None:
    """None if the log has forgotten it."""
    found = event_log.of_seqs(connection, [seq]) if seq is not None else []
    return parse_event(json.loads(found[0].body)) if found else None
