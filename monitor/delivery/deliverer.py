"""The loop that empties the outbox: claim → confirm → render → send → settle, one mail at a time.

One at a time is enough (see monitor/mailer/smtp.py), and each wait is bounded: Airflow's answers, SMTP's
replies, the lease. A mail that cannot be sent goes back with its next attempt, so the next one has its turn.
A server that takes nothing at all is left alone for a while instead of being asked again for every mail.
"""

import asyncio
import logging
from datetime import datetime, timedelta
from functools import partial
from random import SystemRandom

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from monitor import outbox
from monitor.clock import Clock
from monitor.database import Database
from monitor.delivery.desk import Desk
from monitor.delivery.results import again, of_error, of_receipt
from monitor.delivery.retry import Jitter, back_off
from monitor.mailer import Mailer, Receipt, SendError, Unavailable, Uncertain
from monitor.metrics import Metrics
from monitor.outbox import Delivery, LeaseLost, Outcome, State
from monitor.render import Rendered
from monitor.wake import Wake

LEASE = timedelta(seconds=45)  # how long a mail that was under way in a crash waits to be taken up again
RENEW_SECONDS = 10.0  # a delivery may take longer than its lease; several renewals may fail in between
POLL_SECONDS = 5.0  # other replicas' rows and expired leases wake nobody here
SHORTEST_WAIT = 0.05  # seconds; a moment that has just come is not waited for in a spin
STOP_SECONDS = 5.0  # for a mail that is being sent when the monitor stops: cut off, it would be uncertain
SETTLE_TRIES = 6  # a busy or restarting database; within half a minute, and never a reason to send twice

_random = SystemRandom().random

logger = logging.getLogger(__name__)


class Deliverer:
    """`run()` is the background task; `work()` is one turn of it."""

    def __init__(
        self,
        database: Database,
        desk: Desk,
        mailer: Mailer,
        wake: Wake,
        metrics: Metrics,
        clock: Clock,
        jitter: Jitter = _random,
    ) -> None:
        self._database = database
        self._desk = desk
        self._mailer = mailer
        self._wake = wake
        self._metrics = metrics
        self._clock = clock
        self._jitter = jitter
        self._failures = 0
        self._server_back_at: datetime | None = None

    async def run(self) -> None:
        """Deliver until cancelled. A mail that is under way then is given STOP_SECONDS to come through."""
        try:
            while True:
                seen = self._wake.count
                worked = await self._turn()
                if not worked:
                    await self._wake.wait(seen, await self._pause())
        finally:
            await self._mailer.close()

    async def work(self) -> bool:
        """Take up what a dead monitor left and deliver the one mail that is due; False: nothing was due."""
        if self._server_back_at is not None and self._clock() < self._server_back_at:
            return False
        delivery = await self._database.write(self._take)
        if delivery is not None:
            await self._deliver(delivery)
        self._metrics.deliveries_waiting.set(await self._database.read(outbox.waiting))
        return delivery is not None

    async def _turn(self) -> bool:
        turn = asyncio.ensure_future(self.work())
        try:
            return await asyncio.shield(turn)
        except asyncio.CancelledError:
            await asyncio.wait({turn}, timeout=STOP_SECONDS)
            turn.cancel()
            await asyncio.gather(turn, return_exceptions=True)
            raise
        except Exception:
            # The database is away or full; the outbox is in it and will be there when it is back.
            logger.exception("the outbox could not be worked on")
            return False

    async def _pause(self) -> float:
        now = self._clock()
        try:
            due = await self._database.read(outbox.next_due)
        except SQLAlchemyError:
            return POLL_SECONDS
        moments = [moment for moment in (due, self._server_back_at) if moment]
        wait = (max(moments) - now).total_seconds() if moments else POLL_SECONDS
        return min(max(wait, SHORTEST_WAIT), POLL_SECONDS)

    def _take(self, connection: Connection) -> Delivery | None:
        now = self._clock()
        for lost in outbox.reap(connection, now):
            logger.warning("delivery %d: %s", lost.id, lost.reason)
            self._count(lost.state)
        return outbox.claim(connection, now, LEASE)

    async def _deliver(self, delivery: Delivery) -> None:
        renewing = asyncio.create_task(self._renew(delivery), name=f"lease of delivery {delivery.id}")
        try:
            await self._settle(delivery, await self._outcome(delivery))
        except LeaseLost as error:
            logger.warning("%s", error)
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def _outcome(self, delivery: Delivery) -> Outcome:
        ready = await self._prepared(delivery)
        if isinstance(ready, Outcome):
            return ready
        return await self._unreached(delivery) or await self._sent(delivery, ready)

    async def _renew(self, delivery: Delivery) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            until = self._clock() + LEASE
            try:
                await self._database.write(partial(outbox.renew, delivery=delivery, until=until))
            except (LeaseLost, SQLAlchemyError) as error:
                logger.warning("the lease of delivery %d is not renewed: %s", delivery.id, error)

    async def _prepared(self, delivery: Delivery) -> Rendered | Outcome:
        try:
            return await self._desk.prepare(delivery, self._clock())
        except Exception as error:
            # Whatever is wrong with this one must not stand in the way of the others.
            logger.exception("delivery %d could not be prepared", delivery.id)
            return again(delivery, f"not prepared: {error!r}", self._clock(), self._jitter)

    async def _unreached(self, delivery: Delivery) -> Outcome | None:
        """Why no server can be given the mail, or None where one is there."""
        try:
            await self._mailer.open()
        except SendError as error:
            self._note_server(error)
            return of_error(delivery, error, self._clock(), self._jitter)
        except Exception as error:
            logger.exception("delivery %d: the mailer failed", delivery.id)
            return again(delivery, f"the mailer failed: {error!r}", self._clock(), self._jitter)
        return None

    async def _sent(self, delivery: Delivery, ready: Rendered) -> Outcome:
        now = self._clock()
        await self._database.write(
            lambda connection: outbox.hand_over(connection, delivery, now, ready.subject)
        )
        try:
            receipt = await self._mailer.send(ready.message, delivery.remaining)
        except SendError as error:
            self._note_server(error)
            return of_error(delivery, error, self._clock(), self._jitter)
        except Exception as error:
            # Nobody knows how far it came: it must not go out twice.
            logger.exception("delivery %d: the mailer failed", delivery.id)
            return of_error(delivery, Uncertain(f"the mailer failed: {error!r}"), self._clock(), self._jitter)
        self._note_server(receipt)
        return of_receipt(delivery, receipt, ready.problem, self._clock(), self._jitter)

    def _note_server(self, result: Receipt | SendError) -> None:
        """Leave a server alone that takes nothing; the pause grows with each time it is found so."""
        if not isinstance(result, Unavailable):
            self._failures, self._server_back_at = 0, None
            return
        pause = back_off(self._failures, self._jitter)
        self._failures += 1
        self._server_back_at = self._clock() + pause
        logger.error("no mail can be sent, trying again in %.0f s: %s", pause.total_seconds(), result)

    async def _settle(self, delivery: Delivery, outcome: Outcome) -> None:
        tries = AsyncRetrying(
            retry=retry_if_exception_type(SQLAlchemyError),
            stop=stop_after_attempt(SETTLE_TRIES),
            wait=wait_exponential(min=0.5, max=10),
            reraise=True,
        )
        now = self._clock()
        await tries(
            self._database.write, lambda connection: outbox.settle(connection, delivery, outcome, now)
        )
        self._count(outcome.state)
        if outcome.state is State.SENT:
            self._metrics.delivery_delay.observe(max(0.0, (now - delivery.created_at).total_seconds()))
        level = logging.ERROR if outcome.state in (State.DEAD, State.UNCERTAIN) else logging.INFO
        logger.log(level, "delivery %d: %s: %s", delivery.id, outcome.state.value, outcome.reason)

    def _count(self, state: State) -> None:
        self._metrics.deliveries.labels("retry" if state is State.PENDING else state.value).inc()
