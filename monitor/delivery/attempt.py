"""The attempt at one delivery, from its preparation to its settlement.

`DeliveryAttempt` prepares the delivery, notes the handover in the outbox and in the journal, sends the
message, and settles the outcome. The handover is noted before the message is sent, so that a message which
may have been sent is never sent again.

What an error means for the delivery, and when the next attempt is due, is decided in retry.py. The outcome
is stored by settle.py.

`DeliveryServices` holds the objects that all attempts share.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from opentelemetry.trace import Span, SpanKind, StatusCode
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from monitor.clock import Clock
from monitor.concurrency import WakeSignal
from monitor.database.engine import Database
from monitor.delivery.channels.base import Channel
from monitor.delivery.channels.errors import SendError, Uncertain
from monitor.delivery.context import DeliveryContext
from monitor.delivery.prepare import UNTRUE, DeliveryContexts, DeliveryPreparer, PreparedDelivery
from monitor.delivery.retry import CircuitBreaker, Jitter, Outage, again, outcome_of_error, outcome_of_receipt
from monitor.delivery.sent_journal import HANDED, NOT_TAKEN, SENT, JournalEntry, SentJournal, What
from monitor.delivery.settle import Committed, DeliveryEvents, Settlement, settle_delivery
from monitor.delivery.write_batcher import WriteBatcher
from monitor.events.event import trace_of
from monitor.notifications.outbox import queue
from monitor.notifications.outbox.queue import LeaseLost
from monitor.notifications.outbox.records import Delivery, DeliveryOutcome, State
from monitor.observability import logging as observability_logging
from monitor.observability.metrics import Metrics
from monitor.observability.tracing import OFF, Traces, prefix_attributes, traceparent_of

HoldEnd = Callable[[datetime], datetime | None]
"""Until when nothing may be delivered, by the moment at which it is asked; None: it may be."""


def free(_now: datetime) -> datetime | None:
    return None


@dataclass(frozen=True)
class DeliveryServices:
    database: Database
    preparer: DeliveryPreparer
    wake: WakeSignal
    metrics: Metrics
    clock: Clock
    delivery_events: DeliveryEvents
    host: str
    """The right side of Message-IDs."""
    jitter: Jitter
    journal: SentJournal | None = None
    """None: nobody could tell after a restore what was sent."""
    traces: Traces = OFF
    held_until: HoldEnd = free
    batcher: WriteBatcher = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "batcher", WriteBatcher(self.database))

    def count(self, delivery: Delivery, state: State) -> None:
        outcome = "retry" if state is State.PENDING else state.value
        self.metrics.deliveries.labels(delivery.channel.value, outcome).inc()


SETTLE_TRIES = 6  # a busy or restarting database; within half a minute, and never a reason to send twice
WORSE = (State.DEAD, State.UNCERTAIN)

T = TypeVar("T")

logger = logging.getLogger(__name__)


class DeliveryAttempt:
    """`run` takes one delivery to its end; many may be under way."""

    def __init__(self, sender: Channel, services: DeliveryServices, breaker: CircuitBreaker) -> None:
        self._sender = sender
        self._services = services
        self._breaker = breaker
        self._slots = asyncio.Semaphore(sender.at_once)

    async def run(self, delivery: Delivery, contexts: Awaitable[DeliveryContexts]) -> None:
        """`contexts`: what the deliveries that were claimed with it are about."""
        settled: DeliveryOutcome | None = None
        observability_logging.bind(
            delivery_id=delivery.id,
            event_id=delivery.event_id,
            deployment=delivery.deployment,
            dag_id=delivery.dag_id,
            run_id=delivery.run_id,
        )
        try:
            context = (await contexts).get(delivery.id)
            with self._span(delivery, context) as span:
                settled = await self._settle(delivery, await self._deliver(delivery, contexts))
                span.set_attributes(prefix_attributes(outcome=settled.state.value, reason=settled.reason))
                if settled.state in WORSE:
                    span.set_status(StatusCode.ERROR, settled.reason)
            if settled.state is State.SENT:
                self._measure(delivery, context)
        except LeaseLost as error:
            logger.warning("%s", error)
        except Exception:
            # Its lease ends, and then it is taken up again, or is uncertain.
            logger.exception("delivery %d could not be settled", delivery.id)
        finally:
            self._services.preparer.release(delivery, settled.state if settled else None)

    async def _deliver(self, delivery: Delivery, contexts: Awaitable[DeliveryContexts]) -> Settlement:
        prepared = await self._prepare(delivery, contexts)
        if isinstance(prepared, Settlement):
            return prepared
        async with self._slots:
            outcome = (
                self._check_breaker(delivery)
                or await self._open_channel(delivery)
                or await self._send(delivery, prepared)
            )
        return Settlement(outcome, prepared.untrue, UNTRUE)

    async def _prepare(
        self, delivery: Delivery, contexts: Awaitable[DeliveryContexts]
    ) -> PreparedDelivery | Settlement:
        try:
            with self._services.traces.span("confirm and render"):
                return await self._services.preparer.prepare(delivery, await contexts, self._now())
        except Exception as error:
            # Whatever is wrong with this one must not stand in the way of the others.
            logger.exception("delivery %d could not be prepared", delivery.id)
            return Settlement(self._again(delivery, f"not prepared: {error!r}"))

    def _check_breaker(self, delivery: Delivery) -> DeliveryOutcome | None:
        away: Outage | None = self._breaker.current_outage(self._whom(delivery), self._now())
        if away is None:
            return None
        return DeliveryOutcome(State.PENDING, f"to be tried again: {away.error}", away.back_at)

    async def _open_channel(self, delivery: Delivery) -> DeliveryOutcome | None:
        """Why it can be given to nobody, or None where somebody is there to take it."""
        try:
            await self._sender.open()
        except SendError as error:
            return self._handle_error(delivery, error)
        except Exception as error:
            logger.exception("delivery %d: the sender failed", delivery.id)
            return self._again(delivery, f"the sender failed: {error!r}")
        return None

    async def _send(self, delivery: Delivery, prepared: PreparedDelivery) -> DeliveryOutcome:
        unwritten = await self._record_handover(delivery, prepared)
        if unwritten is not None:
            return self._again(delivery, f"not sent: the journal cannot be written: {unwritten}")
        outcome = await self._transmit(delivery, prepared)
        if outcome.state is not State.UNCERTAIN:
            self._append_nowait(delivery, SENT if outcome.state is State.SENT else NOT_TAKEN)
        return outcome

    async def _record_handover(self, delivery: Delivery, prepared: PreparedDelivery) -> OSError | None:
        """Noted in the outbox and in the journal, side by side, for each waits for the disk; the journal's
        error, if any."""
        now = self._now()
        line = JournalEntry(now, HANDED, delivery.message_id, prepared.keys, prepared.subject)
        noting = asyncio.create_task(self._append_to_journal(line))
        try:
            await self._write(
                delivery, lambda connection: queue.hand_over(connection, delivery, now, prepared.subject)
            )
            return await noting
        except BaseException:
            self._append_nowait(delivery, NOT_TAKEN)  # no server has heard of it, and none will
            raise

    async def _append_to_journal(self, line: JournalEntry) -> OSError | None:
        try:
            if self._services.journal is not None:
                await self._services.journal.append(line)
        except OSError as error:
            return error
        return None

    def _append_nowait(self, delivery: Delivery, what: What) -> None:
        if self._services.journal is not None:
            self._services.journal.append_nowait(JournalEntry(self._now(), what, delivery.message_id))

    async def _transmit(self, delivery: Delivery, prepared: PreparedDelivery) -> DeliveryOutcome:
        try:
            with self._services.traces.span(f"send {delivery.channel.value}", SpanKind.CLIENT) as span:
                traceparent = traceparent_of(span) or prepared.traceparent
                receipt = await self._sender.send(replace(prepared.message, traceparent=traceparent))
        except SendError as error:
            return self._handle_error(delivery, error)
        except Exception as error:
            # Nobody knows how far it came: it must not go out twice.
            logger.exception("delivery %d: the sender failed", delivery.id)
            return self._handle_error(delivery, Uncertain(f"the sender failed: {error!r}"))
        self._breaker.record_result(self._whom(delivery), None, self._now())
        return outcome_of_receipt(delivery, receipt, prepared.problem, self._now(), self._services.jitter)

    def _handle_error(self, delivery: Delivery, error: SendError) -> DeliveryOutcome:
        self._breaker.record_result(self._whom(delivery), error, self._now())
        return outcome_of_error(delivery, error, self._now(), self._services.jitter)

    def _again(self, delivery: Delivery, reason: str) -> DeliveryOutcome:
        return again(delivery, reason, self._now(), self._services.jitter)

    async def _settle(self, delivery: Delivery, settlement: Settlement) -> DeliveryOutcome:
        services, now = self._services, self._now()

        def write(connection: Connection) -> tuple[DeliveryOutcome, Committed]:
            notify = services.delivery_events.write(connection, delivery, settlement.outcome, now)
            return settle_delivery(connection, delivery, settlement, now, services.host), notify

        outcome, notify = await self._write(delivery, write)
        notify()
        services.count(delivery, outcome.state)
        if outcome.state not in (State.SENT, State.DEAD, State.UNCERTAIN):
            services.wake.set()  # it, or a digest, is due at a time that nobody waits for yet
        level = logging.ERROR if outcome.state in WORSE else logging.INFO
        logger.log(level, "delivery %d: %s: %s", delivery.id, outcome.state.value, outcome.reason)
        return outcome

    async def _write(self, delivery: Delivery, function: Callable[[Connection], T]) -> T:
        """Again where the database went under it: handed over and not sent, or sent and not settled, it would
        be uncertain for nothing."""
        try:
            return await self._services.batcher.write(function)
        except SQLAlchemyError as error:
            logger.warning("delivery %d is not noted yet: %s", delivery.id, error)
            result: T = await _tries()(self._services.batcher.write, function)
            return result

    def _span(self, delivery: Delivery, context: DeliveryContext | None) -> AbstractContextManager[Span]:
        """A child of the last event that is told, and linked to the others."""
        *links, parent = (
            [trace_of(event) for event in context.events] if context and context.events else [None]
        )
        return self._services.traces.span(
            f"deliver {delivery.channel.value}",
            parent=parent,
            links=links,
            delivery_id=delivery.id,
            event_id=delivery.event_id,
            deployment=delivery.deployment,
            dag_id=delivery.dag_id,
            run_id=delivery.run_id,
            rule=delivery.rule,
            attempt=delivery.attempts + 1,
        )

    def _measure(self, delivery: Delivery, context: DeliveryContext | None) -> None:
        now, metrics, channel = self._now(), self._services.metrics, delivery.channel.value
        due = context.notification.due_at if context else delivery.created_at
        for since, delay in ((delivery.created_at, metrics.delivery_delay), (due, metrics.delivery_late)):
            delay.labels(channel).observe(max(0.0, (now - since).total_seconds()))

    def _whom(self, delivery: Delivery) -> str:
        return "" if self._sender.is_one_server else delivery.recipient

    def _now(self) -> datetime:
        return self._services.clock()


def _tries() -> AsyncRetrying:
    return AsyncRetrying(
        retry=retry_if_exception_type(SQLAlchemyError),
        stop=stop_after_attempt(SETTLE_TRIES),
        wait=wait_exponential(min=0.5, max=10),
        reraise=True,
    )
