"""The attempt at one delivery: confirm → enrich → render → send → settle.

worker.py claims deliveries and makes a `DeliveryAttempt` of each. Its `run` reads in that order. A step that
decides the delivery's fate returns a `DeliveryOutcome`, and the later steps are skipped.

The handover is noted in the outbox and in the journal before the message is sent, so that a message which
may have been sent is never sent again.

Other modules decide: confirm.py what Airflow's answers mean, suppression.py about silences and the budget,
retry.py what an error means and when the next attempt is due. settle.py stores the outcome."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from opentelemetry.trace import Span, SpanKind, StatusCode
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from monitor.delivery import suppression
from monitor.delivery.channels.base import Channel, OutgoingMessage
from monitor.delivery.channels.errors import SendError, Uncertain
from monitor.delivery.confirm import (
    Confirmation,
    ConfirmationResult,
    ask_all,
    check_order,
    combine_answers,
)
from monitor.delivery.context import DeliveryContext, build_envelope, build_payload
from monitor.delivery.messages.enrich import build_message_context
from monitor.delivery.messages.mime import Envelope
from monitor.delivery.messages.model import MessageContext
from monitor.delivery.messages.renderer import RenderedMessage
from monitor.delivery.retry import CircuitBreaker, outcome_of_error, outcome_of_receipt, postpone
from monitor.delivery.sent_journal import HANDED, NOT_TAKEN, SENT, JournalEntry, What
from monitor.delivery.services import DeliveryContexts, DeliveryServices
from monitor.delivery.settle import Committed, log_trouble, settle_delivery
from monitor.delivery.suppression import ToDigest
from monitor.event_log.deployments import origin_of
from monitor.events.event import Event, trace_of
from monitor.events.reports import find_change_time
from monitor.notifications.outbox import queue
from monitor.notifications.outbox.queue import LeaseLost
from monitor.notifications.outbox.records import Delivery, DeliveryOutcome, NotificationKind, State
from monitor.observability import logging as observability_logging
from monitor.observability.tracing import prefix_attributes, traceparent_of
from monitor.rules.targets import Target

ENRICH_SECONDS = 90.0  # for all questions to Airflow besides. Then the message goes out without the answers
SETTLE_TRIES = 6  # for a busy or restarting database: within half a minute, and never a reason to send twice
WORSE = (State.DEAD, State.UNCERTAIN)
BEGINNINGS = (NotificationKind.OPENED, NotificationKind.FAILURE)
"""The kinds that report an incident's failures for the first time. If all are untrue, so is the incident."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class DeliveryAttempt:
    """The attempt at one delivery. Many attempts may be under way in a channel, and `slots` of them send."""

    def __init__(
        self,
        delivery: Delivery,
        contexts: Awaitable[DeliveryContexts],
        services: DeliveryServices,
        channel: Channel,
        breaker: CircuitBreaker,
        slots: asyncio.Semaphore,
    ) -> None:
        """Keep `contexts`, of all deliveries that were claimed together.
        It lacks this delivery if they could not be read together."""
        self._delivery = delivery
        self._contexts = contexts
        self._services = services
        self._channel = channel
        self._breaker = breaker
        self._slots = slots
        self._context: DeliveryContext | None = None
        self._untrue: Set[int] = frozenset()
        """The failures (seqs) that Airflow no longer confirms, and that are reported for the first time."""

    async def run(self) -> None:
        """Attempt the delivery and store the outcome."""
        delivery, settled = self._delivery, None
        observability_logging.bind(
            delivery_id=delivery.id,
            event_id=delivery.event_id,
            deployment=delivery.deployment,
            dag_id=delivery.dag_id,
            run_id=delivery.run_id,
        )
        try:
            self._context = (await self._contexts).get(delivery.id)
            with self._span() as span:
                settled = await self._settle(await self._deliver())
                span.set_attributes(prefix_attributes(outcome=settled.state.value, reason=settled.reason))
                if settled.state in WORSE:
                    span.set_status(StatusCode.ERROR, settled.reason)
            if settled.state is State.SENT:
                self._measure()
        except LeaseLost as error:
            logger.warning("%s", error)
        except Exception:
            # The lease ends. The delivery is then claimed again, or is uncertain.
            logger.exception("delivery %d could not be settled", delivery.id)
        finally:
            if self._services.budget is not None:
                self._services.budget.release(delivery, settled.state if settled else None)

    async def _deliver(self) -> DeliveryOutcome | ToDigest:
        try:
            with self._services.traces.span("confirm and render"):
                prepared = await self._prepare()
        except Exception as error:
            # A delivery that cannot be prepared must not stand in the way of the others.
            logger.exception("delivery %d could not be prepared", self._delivery.id)
            return self._postpone(f"not prepared: {type(error).__name__}, see the log")
        if not isinstance(prepared, OutgoingMessage):
            return prepared
        async with self._slots:
            return self._check_breaker() or await self._open_channel() or await self._send(prepared)

    async def _prepare(self) -> OutgoingMessage | DeliveryOutcome | ToDigest:
        """Confirm, enrich and render. Return the message, or the outcome if nothing is sent now."""
        delivery, services, now = self._delivery, self._services, self._now()
        rules, target = services.rules(), Target(delivery.channel, delivery.recipient)
        resolved = rules.resolve(target)
        if resolved is None:
            reason = f"dead: the rules file names no {delivery.recipient} any more; put it back, then resend"
            return DeliveryOutcome(State.DEAD, reason)
        context = self._context or (await services.load([delivery])).get(delivery.id)
        self._context = context
        if context is None or not context.events:
            reason = "dead: its events are no longer in the log, so there is nothing to report"
            return DeliveryOutcome(State.DEAD, reason)
        sendable = suppression.suppress(context, now)
        if isinstance(sendable, DeliveryOutcome):
            return sendable
        content = await self._confirm(sendable)
        if isinstance(content, DeliveryOutcome):
            return content
        if no_room := await self._check_budget():
            return no_room
        message_context = await self._enrich(content)
        envelope = build_envelope(services.links, content, rules.timezone_of(target))
        try:
            rendered = await self._render(message_context, envelope)
        except ValueError as error:
            return DeliveryOutcome(State.DEAD, f"dead: the mail cannot be addressed: {error}")
        return OutgoingMessage(
            message_id=delivery.message_id,
            recipient=delivery.recipient,
            resolved=resolved,
            rendered=rendered,
            kind=delivery.kind.value,
            payload=build_payload(content, envelope, rendered),
            traceparent=content.lead.traceparent if content.lead else None,
        )

    async def _confirm(self, context: DeliveryContext) -> DeliveryContext | DeliveryOutcome:
        """Ask Airflow. Return the context of what it confirms, or the outcome if nothing is sent now."""
        # A recovery stands or falls with its success. The failures before may have been cleared since.
        is_recovery = context.delivery.kind is NotificationKind.RECOVERED
        events_asked = context.events[-1:] if is_recovery else context.events
        apart = len(context.events) - len(events_asked)
        answers = await ask_all(self._services.apis, events_asked)
        if is_recovery and context.incident is not None and context.incident.closed_seq in context.seqs[-1:]:
            answers = [check_order(answer, context.incident) for answer in answers]
        if too_old := await self._too_old(events_asked, answers):
            return DeliveryOutcome(State.SUPPRESSED, too_old)
        if context.delivery.kind in BEGINNINGS:
            self._untrue = {
                seq
                for seq, answer in zip(context.seqs[apart:], answers, strict=True)
                if answer.confirmation is Confirmation.CONTRADICTED
            }
        confirmed = combine_answers(
            answers, context.notification.due_at, self._now(), self._services.confirm_grace
        )
        if isinstance(confirmed, DeliveryOutcome):
            return confirmed
        before = await self._confirm_failures(context, context.events[:apart])
        if before is None:
            return suppression.NOTHING_TOLD
        events = (*before, *(events_asked[at] for at in confirmed.confirmed))
        data = context.content_data if events == context.events else None
        return replace(context, events=events, unconfirmed=confirmed.unconfirmed, content_data=data)

    async def _too_old(self, events: Sequence[Event], answers: Sequence[ConfirmationResult]) -> str | None:
        """Return why these events are not notified, if each was too old when it became known.

        Airflow's dates count. How long the delivery has been tried since does not."""
        window, created_at = self._services.window, self._delivery.created_at
        if window is None:
            return None
        reasons = []
        for event, answer in zip(events, answers, strict=True):
            changed = answer.changed_at or find_change_time(event.data)
            if answer.confirmation is Confirmation.CONTRADICTED or changed is None:
                return None
            origin = await self._origin(event.deployment)
            reasons.append(window.why_not_at(changed, event.deployment, origin, created_at))
        return reasons[0] if reasons and all(reasons) else None

    async def _origin(self, deployment: str) -> datetime:
        origins, created_at = self._services.origins, self._delivery.created_at
        if deployment not in origins:
            origins[deployment] = await self._services.database.read(
                lambda connection: origin_of(connection, deployment, created_at)
            )
        return origins[deployment]

    async def _confirm_failures(
        self, context: DeliveryContext, failures: Sequence[Event]
    ) -> Sequence[Event] | None:
        """Return the failures before a recovery that stand, if none of them was notified yet.

        Return None if nothing is left that the recovery would be the recovery of."""
        if not failures or context.thread.is_notified:
            return failures
        answers = await ask_all(self._services.apis, failures)
        left = [
            event
            for event, answer in zip(failures, answers, strict=True)
            if answer.confirmation is not Confirmation.CONTRADICTED
        ]
        return left if left or context.earlier else None

    async def _check_budget(self) -> DeliveryOutcome | ToDigest | None:
        budget, delivery, now = self._services.budget, self._delivery, self._now()
        if budget is None or budget.has_room(delivery, now):
            return None
        return await self._services.database.read(
            lambda connection: budget.check_room(connection, delivery, now)
        )

    async def _enrich(self, content: DeliveryContext) -> MessageContext:
        """Read what the message shows, from Airflow if it can be asked."""
        database = self._services.database
        deployment = content.lead.deployment if content.lead else content.notification.deployment
        airflow = None if content.unconfirmed else self._services.apis.get(deployment)
        if airflow is None:
            return await build_message_context(database, None, content, content.content_data)
        try:
            return await asyncio.wait_for(build_message_context(database, airflow, content), ENRICH_SECONDS)
        except (TimeoutError, asyncio.TimeoutError):
            return await build_message_context(database, None, content)

    async def _render(self, message_context: MessageContext, envelope: Envelope) -> RenderedMessage:
        """Write the message. A template of the user's runs in a thread, outside the event loop."""
        renderer, template = self._services.renderer, self._delivery.template
        if renderer.is_overridden(template, message_context):
            rendered = await asyncio.to_thread(renderer.render, template, message_context, envelope)
        else:
            rendered = renderer.render(template, message_context, envelope)
        if self._services.failed_templates is not None:
            self._services.failed_templates.note(template, rendered.problem)
        return rendered

    def _check_breaker(self) -> DeliveryOutcome | None:
        outage = self._breaker.current_outage(self._server, self._now())
        if outage is None:
            return None
        return DeliveryOutcome(State.PENDING, f"to be tried again: {outage.error}", outage.back_at)

    async def _open_channel(self) -> DeliveryOutcome | None:
        """Return the outcome if the channel cannot take a message now."""
        try:
            await self._channel.open()
        except SendError as error:
            return self._handle_error(error)
        except Exception as error:
            logger.exception("delivery %d: the sender failed", self._delivery.id)
            return self._postpone(f"the sender failed: {type(error).__name__}, see the log")
        return None

    async def _send(self, message: OutgoingMessage) -> DeliveryOutcome:
        unwritten = await self._record_handover(message)
        if unwritten is not None:
            return self._postpone(f"not sent: the journal cannot be written: {unwritten}")
        outcome = await self._transmit(message)
        if outcome.state is not State.UNCERTAIN:
            self._append_nowait(SENT if outcome.state is State.SENT else NOT_TAKEN)
        return outcome

    async def _record_handover(self, message: OutgoingMessage) -> OSError | None:
        """Note the handover in the outbox and in the journal. Return the journal's error, if any.

        Both wait for the disk, so they are written at the same time.
        """
        delivery, now, subject = self._delivery, self._now(), message.rendered.subject
        keys = self._context.keys if self._context else ()
        noting = asyncio.create_task(
            self._append(JournalEntry(now, HANDED, delivery.message_id, keys, subject))
        )
        try:
            await self._write(lambda connection: queue.hand_over(connection, delivery, now, subject))
            return await noting
        except BaseException:
            self._append_nowait(NOT_TAKEN)  # no server has heard of the message, and none will
            raise

    async def _append(self, entry: JournalEntry) -> OSError | None:
        try:
            if self._services.journal is not None:
                await self._services.journal.append(entry)
        except OSError as error:
            return error
        return None

    def _append_nowait(self, what: What) -> None:
        if self._services.journal is not None:
            entry = JournalEntry(self._now(), what, self._delivery.message_id)
            self._services.journal.append_nowait(entry)

    async def _transmit(self, message: OutgoingMessage) -> DeliveryOutcome:
        delivery, services = self._delivery, self._services
        try:
            with services.traces.span(f"send {delivery.channel.value}", SpanKind.CLIENT) as span:
                traceparent = traceparent_of(span) or message.traceparent
                receipt = await self._channel.send(replace(message, traceparent=traceparent))
        except SendError as error:
            return self._handle_error(error)
        except Exception as error:
            # The message may have reached the server, so it must not go out twice.
            logger.exception("delivery %d: the sender failed", delivery.id)
            return self._handle_error(Uncertain(f"the sender failed: {type(error).__name__}, see the log"))
        self._breaker.record_result(self._server, None, self._now())
        return outcome_of_receipt(delivery, receipt, message.rendered.problem, self._now(), services.jitter)

    def _handle_error(self, error: SendError) -> DeliveryOutcome:
        self._breaker.record_result(self._server, error, self._now())
        return outcome_of_error(self._delivery, error, self._now(), self._services.jitter)

    def _postpone(self, reason: str) -> DeliveryOutcome:
        return postpone(self._delivery, reason, self._now(), self._services.jitter)

    async def _settle(self, outcome: DeliveryOutcome | ToDigest) -> DeliveryOutcome:
        delivery, services, now = self._delivery, self._services, self._now()

        def write(connection: Connection) -> tuple[DeliveryOutcome, Committed]:
            notify = log_trouble(connection, services.log, delivery, outcome, now)
            return settle_delivery(connection, delivery, outcome, self._untrue, now, services.host), notify

        settled, notify = await self._write(write)
        notify()
        services.count(delivery, settled.state)
        if settled.state not in (State.SENT, State.DEAD, State.UNCERTAIN):
            services.wake.set()  # the delivery, or a digest, is due earlier than the worker waits for
        level = logging.ERROR if settled.state in WORSE else logging.INFO
        logger.log(level, "delivery %d: %s: %s", delivery.id, settled.state.value, settled.reason)
        return settled

    async def _write(self, function: Callable[[Connection], T]) -> T:
        """Write, again if the database is away for a moment. Otherwise the delivery would be uncertain:
        handed over and not sent, or sent and not settled."""
        try:
            return await self._services.database.write(function)
        except SQLAlchemyError as error:
            logger.warning("delivery %d is not noted yet: %s", self._delivery.id, error)
            result: T = await _tries()(self._services.database.write, function)
            return result

    def _span(self) -> AbstractContextManager[Span]:
        """Open a span, a child of the last event that is reported and linked to the others."""
        delivery, events = self._delivery, self._context.events if self._context else ()
        traces = [trace_of(event) for event in events]
        return self._services.traces.span(
            f"deliver {delivery.channel.value}",
            parent=traces[-1] if traces else None,
            links=traces[:-1],
            delivery_id=delivery.id,
            event_id=delivery.event_id,
            deployment=delivery.deployment,
            dag_id=delivery.dag_id,
            run_id=delivery.run_id,
            rule=delivery.rule,
            attempt=delivery.attempts + 1,
        )

    def _measure(self) -> None:
        delivery, now, metrics = self._delivery, self._now(), self._services.metrics
        due = self._context.notification.due_at if self._context else delivery.created_at
        for since, delay in ((delivery.created_at, metrics.delivery_delay), (due, metrics.delivery_late)):
            delay.labels(delivery.channel.value).observe(max(0.0, (now - since).total_seconds()))

    @property
    def _server(self) -> str:
        """The breaker's name of what takes the message: the recipient, unless one server takes all."""
        return "" if self._channel.is_one_server else self._delivery.recipient

    def _now(self) -> datetime:
        return self._services.clock()


def _tries() -> AsyncRetrying:
    return AsyncRetrying(
        retry=retry_if_exception_type(SQLAlchemyError),
        stop=stop_after_attempt(SETTLE_TRIES),
        wait=wait_exponential(min=0.5, max=10),
        reraise=True,
    )
