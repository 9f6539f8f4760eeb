"""The delivery worker, with one queue for each channel.

`ChannelWorker` claims due deliveries of one channel from the outbox, starts a `DeliveryAttempt` for each,
and rests until more are due. Several deliveries are under way in a channel, so that a slow Airflow or a slow
server does not hold up the rest. Every wait is bounded: Airflow's answers, the receiver's replies, the
lease.

`DeliveryWorker` runs one `ChannelWorker` for each channel, so that no channel waits for another."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from monitor.concurrency import end, first_of
from monitor.delivery.attempt import DeliveryAttempt
from monitor.delivery.channels.base import Channel
from monitor.delivery.retry import CircuitBreaker
from monitor.delivery.services import DeliveryContexts, DeliveryServices
from monitor.notifications.outbox import already_sent, queries, queue
from monitor.notifications.outbox.queue import LeaseLost
from monitor.notifications.outbox.records import Delivery
from monitor.rules.targets import ChannelName

LEASE = timedelta(seconds=45)  # how long what was under way in a crash waits to be taken up again
REAP = timedelta(seconds=1)  # from one look for ended leases to the next, while there is much to do
RENEW_SECONDS = 10.0  # a delivery may take longer than its lease, and several renewals may fail in between
POLL_SECONDS = 5.0  # other replicas' rows and expired leases do not wake this worker
SHORTEST_WAIT = 0.05  # seconds, so that the worker does not spin for a moment that has just come
STOP_SECONDS = 5.0  # for what is being sent when the monitor stops: cut off, it would be uncertain
AHEAD = 8  # deliveries that are confirmed and written while others are on the wire

logger = logging.getLogger(__name__)


class ChannelWorker:
    """The delivery of one channel. `run` is the background task, and `work` is one turn of it."""

    def __init__(self, name: ChannelName, channel: Channel, services: DeliveryServices) -> None:
        self.name = name
        self._channel = channel
        self._services = services
        self._breaker = CircuitBreaker(name.value, services.jitter)
        self._slots = asyncio.Semaphore(channel.at_once)
        self._most = channel.at_once + AHEAD
        self._reaped_at: datetime | None = None
        self._under_way: dict[asyncio.Task[None], Delivery] = {}

    async def run(self) -> None:
        """Deliver until canceled. The attempts under way then have STOP_SECONDS to end."""
        renewing = asyncio.create_task(self._renew(), name=f"leases of {self.name.value}")
        try:
            while True:
                seen = self._services.wake.count
                if not self._room:
                    await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
                elif not await self._take():
                    await self._services.wake.wait(seen, await self._pause())
        finally:
            await self._stop()
            await end([renewing])

    async def work(self) -> bool:
        """Deliver what is due, and what a dead monitor left. Return False if that is nothing."""
        if not await self._take():
            return False
        await asyncio.gather(*self._under_way)
        return True

    @property
    def _room(self) -> int:
        return self._most - len(self._under_way)

    async def _take(self) -> int:
        """Claim as many deliveries as have room, start their attempts, and return their number."""
        now = self._services.clock()
        if self._free_at(now):
            return 0
        room = self._room
        try:
            claimed = await self._services.database.write(
                lambda connection: self._claim(connection, now, room)
            )
        except Exception:
            # The database is away or full. The outbox is in the database and will be there when it is back.
            logger.exception("the outbox could not be worked on")
            return 0
        if not claimed:
            return 0
        contexts = asyncio.ensure_future(self._load(claimed))
        for delivery in claimed:
            attempt = DeliveryAttempt(
                delivery, contexts, self._services, self._channel, self._breaker, self._slots
            )
            task = asyncio.create_task(attempt.run(), name=f"delivery {delivery.id}")
            self._under_way[task] = delivery
            task.add_done_callback(self._came_back)
        return len(claimed)

    async def _load(self, claimed: Sequence[Delivery]) -> DeliveryContexts:
        """Read the contexts together. If that fails for one of them, each attempt reads its own."""
        try:
            return await self._services.load(claimed)
        except Exception:
            logger.exception("%d deliveries could not be read together", len(claimed))
            return {}

    def _claim(self, connection: Connection, now: datetime, most: int) -> list[Delivery]:
        if self._services.held_until(now):  # since the connection was made for this very claim
            return []
        if self._reaped_at is None or now - self._reaped_at >= REAP:
            self._reaped_at = now
            for lost in queue.reap(connection, now):
                logger.warning("delivery %d: %s", lost.id, lost.reason)
                self._services.count(lost, lost.state)
        claimed = queue.claim_some(connection, now, LEASE, self.name, most)
        return already_sent.sift(connection, claimed)

    def _came_back(self, task: "asyncio.Task[None]") -> None:
        self._under_way.pop(task, None)

    async def _pause(self) -> float:
        now = self._services.clock()
        try:
            due = await self._services.database.read(lambda connection: queue.next_due(connection, self.name))
        except SQLAlchemyError:
            return POLL_SECONDS
        moments = [moment for moment in (due, self._free_at(now)) if moment]
        wait = (max(moments) - now).total_seconds() if moments else POLL_SECONDS
        return min(max(wait, SHORTEST_WAIT), POLL_SECONDS)

    def _free_at(self, now: datetime) -> datetime | None:
        """Return when anything may be claimed again, or None if it may."""
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
            await self._services.database.write(lambda connection: queue.renew(connection, delivery, until))
        except (LeaseLost, SQLAlchemyError) as error:
            if delivery in self._under_way.values():
                logger.warning("the lease of delivery %d is not renewed: %s", delivery.id, error)
        except Exception:  # a defect, at one delivery: those of the others are renewed, now and later
            logger.exception("the lease of delivery %d is not renewed", delivery.id)
            self._services.metrics.work_failures.labels("leases").inc()

    async def _stop(self) -> None:
        attempts = list(self._under_way)
        if attempts:
            await asyncio.wait(attempts, timeout=STOP_SECONDS)
        await end(attempts)
        await self._channel.close()


COUNT_SECONDS = 15.0  # the gauge of what waits: counting a million rows at each delivery would be the work


class DeliveryWorker:
    """The delivery of all channels. `run` is the background task, and `work` is one turn of it."""

    def __init__(self, services: DeliveryServices, channels: Mapping[ChannelName, Channel]) -> None:
        self._services = services
        self._workers = [ChannelWorker(name, channel, services) for name, channel in channels.items()]

    async def run(self) -> None:
        """Deliver until canceled."""
        try:
            await first_of(*(worker.run() for worker in self._workers), self._count())
        finally:
            await self._flush()

    async def work(self) -> bool:
        """Deliver what is due. Return False if nothing is."""
        worked = [await worker.work() for worker in self._workers]
        await self._flush()
        await self.count()
        return any(worked)

    async def _flush(self) -> None:
        if self._services.journal is not None:
            await self._services.journal.flush()

    async def count(self) -> None:
        """Count the outbox for the metrics."""
        now, metrics = self._services.clock(), self._services.metrics
        found, trouble = await self._services.database.read(
            lambda connection: (queries.load_stats(connection, now), queries.find_outage(connection))
        )
        metrics.mail_failing.set((now - trouble.since).total_seconds() if trouble else 0)
        metrics.deliveries_waiting.set(found.waiting)
        for state, number in found.by_state.items():
            metrics.outbox.labels(state.value).set(number)
        for worker in self._workers:
            waits = (now - found.oldest.get(worker.name, now)).total_seconds()
            metrics.delivery_oldest.labels(worker.name.value).set(waits)

    async def _count(self) -> None:
        while True:
            try:
                await self.count()
            except SQLAlchemyError as error:
                logger.warning("what waits in the outbox could not be counted: %s", error)
            except Exception:  # a defect, at what is only shown: deliveries go on
                logger.exception("what waits in the outbox could not be counted")
                self._services.metrics.work_failures.labels("outbox counts").inc()
            await asyncio.sleep(COUNT_SECONDS)
