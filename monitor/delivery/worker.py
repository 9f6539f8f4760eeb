"""The delivery worker, with one queue for each channel.

`ChannelWorker` claims due deliveries of one channel from the outbox, starts a `DeliveryAttempt` for each, and
rests until there are more. Several deliveries are under way in a channel, so that a slow Airflow or a slow
server does not hold up the rest. Every wait is bounded: Airflow's answers, the receiver's replies, the lease.

`DeliveryWorker` runs one `ChannelWorker` for each channel, so that no channel waits for another.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from random import SystemRandom

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from monitor.clock import Clock
from monitor.concurrency import WakeSignal, end, first_of
from monitor.database.engine import Database
from monitor.delivery.attempt import DeliveryAttempt, DeliveryServices, HoldEnd, free
from monitor.delivery.channels.base import Channel
from monitor.delivery.prepare import DeliveryPreparer
from monitor.delivery.retry import CircuitBreaker, Jitter
from monitor.delivery.sent_journal import SentJournal
from monitor.delivery.settle import DeliveryEvents, Log
from monitor.notifications.outbox import already_sent, queries, queue
from monitor.notifications.outbox.queue import LeaseLost
from monitor.notifications.outbox.records import Delivery
from monitor.observability.metrics import Metrics
from monitor.observability.tracing import OFF, Traces
from monitor.rules.targets import ChannelName

LEASE = timedelta(seconds=45)  # how long what was under way in a crash waits to be taken up again
REAP = timedelta(seconds=1)  # from one look for ended leases to the next, while there is much to do
RENEW_SECONDS = 10.0  # a delivery may take longer than its lease; several renewals may fail in between
POLL_SECONDS = 5.0  # other replicas' rows and expired leases wake nobody here
SHORTEST_WAIT = 0.05  # seconds; a moment that has just come is not waited for in a spin
STOP_SECONDS = 5.0  # for what is being sent when the monitor stops: cut off, it would be uncertain
AHEAD = 8  # deliveries that are confirmed and written while others are on the wire
TOGETHER = 4  # are claimed in one transaction, where so many wait
TOGETHER_SECONDS = 0.05  # is waited for that; then as many as there is room for

logger = logging.getLogger(__name__)


class ChannelWorker:
    """`run()` is the background task; `work()` is one turn of it."""

    def __init__(self, channel: ChannelName, sender: Channel, services: DeliveryServices) -> None:
        self.channel = channel
        self._sender = sender
        self._services = services
        self._breaker = CircuitBreaker(channel.value, services.jitter)
        self._attempt = DeliveryAttempt(sender, services, self._breaker)
        self._most = sender.at_once + AHEAD
        self._reaped_at: datetime | None = None
        self._under_way: dict[asyncio.Task[None], Delivery] = {}

    async def run(self) -> None:
        """Deliver until cancelled. What is under way then is given STOP_SECONDS to come through."""
        renewing = asyncio.create_task(self._renew(), name=f"leases of {self.channel.value}")
        try:
            while True:
                seen = self._services.wake.count
                taken = await self._take()
                if taken and self._room < TOGETHER:
                    await self._some_back()
                elif not taken:
                    await self._services.wake.wait(seen, await self._pause())
        finally:
            await self._stop()
            await end([renewing])

    async def work(self) -> bool:
        """Take up what a dead monitor left, and deliver what is due; False: nothing was."""
        if not await self._take():
            return False
        await asyncio.gather(*self._under_way)
        return True

    @property
    def _room(self) -> int:
        return self._most - len(self._under_way)

    async def _some_back(self) -> None:
        """Until there is room for several; or for one, where the others take long."""
        timeout: float | None = TOGETHER_SECONDS
        while self._room < TOGETHER:
            done, _ = await asyncio.wait(
                self._under_way, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if not done and self._room:
                return
            timeout = timeout if self._room else None

    async def _take(self) -> int:
        """Claim as many as there is room for, and begin with them; answers how many."""
        now = self._services.clock()
        if self._free_at(now):
            return 0
        room = self._room
        try:
            claimed = await self._services.batcher.write(
                lambda connection: self._claim(connection, now, room)
            )
        except Exception:
            # The database is away or full; the outbox is in it and will be there when it is back.
            logger.exception("the outbox could not be worked on")
            return 0
        if not claimed:
            return 0
        contexts = asyncio.ensure_future(self._services.preparer.load(claimed, now))
        for delivery in claimed:
            task = asyncio.create_task(self._attempt.run(delivery, contexts), name=f"delivery {delivery.id}")
            self._under_way[task] = delivery
            task.add_done_callback(self._came_back)
        return len(claimed)

    def _claim(self, connection: Connection, now: datetime, most: int) -> list[Delivery]:
        if self._services.held_until(now):  # since the connection was made for this very claim
            return []
        if self._reaped_at is None or now - self._reaped_at >= REAP:
            self._reaped_at = now
            for lost in queue.reap(connection, now):
                logger.warning("delivery %d: %s", lost.id, lost.reason)
                self._services.count(lost, lost.state)
        claimed = queue.claim_some(connection, now, LEASE, self.channel, most)
        return already_sent.sift(connection, claimed)

    def _came_back(self, task: "asyncio.Task[None]") -> None:
        self._under_way.pop(task, None)

    async def _pause(self) -> float:
        now = self._services.clock()
        try:
            due = await self._services.database.read(
                lambda connection: queue.next_due(connection, self.channel)
            )
        except SQLAlchemyError:
            return POLL_SECONDS
        moments = [moment for moment in (due, self._free_at(now)) if moment]
        wait = (max(moments) - now).total_seconds() if moments else POLL_SECONDS
        return min(max(wait, SHORTEST_WAIT), POLL_SECONDS)

    def _free_at(self, now: datetime) -> datetime | None:
        """When anything may be claimed again; None: it may."""
        away = self._breaker.current_outage("", now)
        moments = (away.back_at if away else None, self._services.held_until(now))
        return max((moment for moment in moments if moment), default=None)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await asyncio.gather(*map(self._renew_one, list(self._under_way.values())))

    async def _renew_one(self, delivery: Delivery) -> None:
        until = self._services.clock() + LEASE
        try:
            await self._services.batcher.write(lambda connection: queue.renew(connection, delivery, until))
        except (LeaseLost, SQLAlchemyError) as error:
            if delivery in self._under_way.values():
                logger.warning("the lease of delivery %d is not renewed: %s", delivery.id, error)
        except Exception:  # a defect, at one delivery: those of the others are renewed, now and later
            logger.exception("the lease of delivery %d is not renewed", delivery.id)
            self._services.metrics.work_failures.labels("leases").inc()

    async def _stop(self) -> None:
        errands = list(self._under_way)
        if errands:
            await asyncio.wait(errands, timeout=STOP_SECONDS)
        await end(errands)
        await self._sender.close()


COUNT_SECONDS = 15.0  # the gauge of what waits: counting a million rows at each delivery would be the work

_random = SystemRandom().random


class DeliveryWorker:
    """`run()` is the background task; `work()` is one turn of it."""

    def __init__(
        self,
        database: Database,
        preparer: DeliveryPreparer,
        senders: Mapping[ChannelName, Channel],
        wake: WakeSignal,
        metrics: Metrics,
        clock: Clock,
        host: str,
        log: Log | None = None,
        jitter: Jitter = _random,
        journal: SentJournal | None = None,
        traces: Traces = OFF,
        held_until: HoldEnd = free,
    ) -> None:
        """`host`: the right side of a digest's Message-ID. `log`: `Ingest.log`, for events of deliveries.
        `journal`: keeps what was sent for a database that is restored from a backup. `held_until`: until when
        all of it waits."""
        self._database = database
        self._metrics = metrics
        self._clock = clock
        self._journal = journal
        services = DeliveryServices(
            database=database,
            preparer=preparer,
            wake=wake,
            metrics=metrics,
            clock=clock,
            delivery_events=DeliveryEvents(log),
            host=host,
            jitter=jitter,
            journal=journal,
            traces=traces,
            held_until=held_until,
        )
        self._lines = {
            channel: ChannelWorker(channel, sender, services) for channel, sender in senders.items()
        }

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            await first_of(*(line.run() for line in self._lines.values()), self._count())
        finally:
            await self._flush()

    async def work(self) -> bool:
        """Deliver what is due; False: nothing was."""
        worked = [await line.work() for line in self._lines.values()]
        await self._flush()
        await self.count()
        return any(worked)

    async def _flush(self) -> None:
        if self._journal is not None:
            await self._journal.flush()

    async def count(self) -> None:
        now = self._clock()
        found, trouble = await self._database.read(
            lambda connection: (queries.load_stats(connection, now), queries.find_outage(connection))
        )
        self._metrics.mail_failing.set((now - trouble.since).total_seconds() if trouble else 0)
        self._metrics.deliveries_waiting.set(found.waiting)
        for state, number in found.by_state.items():
            self._metrics.outbox.labels(state.value).set(number)
        for channel in self._lines:
            waits = (now - found.oldest.get(channel, now)).total_seconds()
            self._metrics.delivery_oldest.labels(channel.value).set(waits)

    async def _count(self) -> None:
        while True:
            try:
                await self.count()
            except SQLAlchemyError as error:
                logger.warning("what waits in the outbox could not be counted: %s", error)
            except Exception:  # a defect, at what is only shown: deliveries go on
                logger.exception("what waits in the outbox could not be counted")
                self._metrics.work_failures.labels("outbox counts").inc()
            await asyncio.sleep(COUNT_SECONDS)
