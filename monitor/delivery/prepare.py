"""The preparation of claimed deliveries: confirm, enrich and render them.

`DeliveryPreparer` makes a `PreparedDelivery` of a delivery, or the `Settlement` of a delivery that is not
sent now.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from monitor.database.engine import Database
from monitor.delivery import suppression
from monitor.delivery.channels.base import OutgoingMessage
from monitor.delivery.confirm import (
    AirflowReader,
    Confirmation,
    ConfirmationResult,
    ask_all,
    check_order,
    combine_answers,
)
from monitor.delivery.context import DeliveryContext, load_contexts
from monitor.delivery.messages.content import NotificationContent
from monitor.delivery.messages.enrich import build_message_context
from monitor.delivery.messages.links import Links
from monitor.delivery.messages.mime import Envelope
from monitor.delivery.messages.model import MessageContext
from monitor.delivery.messages.renderer import RenderedMessage, Renderer
from monitor.delivery.messages.templates import FailedTemplates
from monitor.delivery.settle import Settlement
from monitor.delivery.suppression import DeliveryBudget, ToDigest
from monitor.event_log.deployments import origin_of
from monitor.events.event import Event
from monitor.events.identity import stamp
from monitor.events.reports import find_change_time
from monitor.notifications import silences
from monitor.notifications.decision import NotificationWindow
from monitor.notifications.incidents import Incident
from monitor.notifications.outbox.records import Delivery, DeliveryOutcome, NotificationKind, State
from monitor.rules.ruleset import Rules
from monitor.rules.targets import ChannelName, ResolvedTarget, Target

UNDONE = (NotificationKind.RECOVERED, NotificationKind.SUCCESS, NotificationKind.DIGEST)
"""Of these there is nothing to acknowledge."""


def build_envelope(
    links: Links, context: DeliveryContext, content: NotificationContent, timezone: str
) -> Envelope:
    delivery, lead = context.delivery, content.lead
    incident = context.incident
    may_acknowledge = incident and incident.is_open and delivery.kind not in UNDONE
    is_mail = delivery.channel is ChannelName.EMAIL
    # Whom a digest tells, it tells of many DAGs.
    is_digest = delivery.kind is NotificationKind.DIGEST
    silence_label, silence_url = ("", None) if is_digest else _silence(links, incident, lead)
    return Envelope(
        message_id=delivery.message_id,
        recipient=delivery.recipient,
        rule=delivery.rule,
        timezone=timezone,
        references=context.thread.references,
        subject=context.thread.subject,
        silence_url=silence_url,
        silence_label=silence_label,
        acknowledge_url=links.acknowledge(incident.id) if incident and may_acknowledge else None,
        unsubscribe_url=links.unsubscribe(delivery.recipient, delivery.rule) if is_mail else None,
    )


def _silence(links: Links, incident: Incident | None, lead: Event | None) -> tuple[str, str | None]:
    """What the link silences, in words, and the link: what the mail is about, and never more."""
    if incident is not None:
        return f"Silence this {'DAG' if incident.is_of_dag else 'incident'}", links.silence_incident(
            incident.id
        )
    fields = silences.build_silence_fields(lead) if lead else {}
    if lead is None or not fields:
        return "", None
    what = "asset" if "asset" in fields else "task" if "task_id" in fields else "DAG"
    if "type" in fields:
        what = "kind of message"
    return f"Silence this {what}", links.silence(lead.deployment, **fields)


def build_webhook_payload(
    content: NotificationContent, envelope: Envelope, rendered: RenderedMessage
) -> Mapping[str, Any]:
    delivery, notification = content.delivery, content.notification
    return {
        "type": f"windsock.notification.{notification.kind.value}",
        "timestamp": stamp(notification.created_at),
        "data": {
            "message_id": delivery.message_id,
            "deployment": notification.deployment,
            "rule": delivery.rule,
            "kind": notification.kind.value,
            "subject": rendered.subject,
            "title": rendered.title,
            "incident": _incident(content.incident),
            "events": [json.loads(event.body) for event in content.events],
            "earlier": content.earlier,
            "unconfirmed": content.unconfirmed,
            "links": {"silence": envelope.silence_url, "acknowledge": envelope.acknowledge_url},
        },
    }


def _incident(incident: Incident | None) -> dict[str, Any] | None:
    if incident is None:
        return None
    return {
        "id": incident.id,
        "key": incident.key,
        "dag_id": incident.dag_id,
        "title": incident.title,
        "state": incident.state,
        "failures": incident.failures,
        "opened_at": stamp(incident.opened_at),
        "closed_at": stamp(incident.closed_at) if incident.closed_at else None,
        "flapping": incident.flapping,
        "acknowledged_by": incident.acked_by,
    }


TELL_SECONDS = 90.0  # for all that is asked besides; then it is told without
UNTRUE = "Airflow took its failures back"
BEGINNINGS = (NotificationKind.OPENED, NotificationKind.FAILURE)
"""What tells of an incident's failures for the first time: where they are untrue, there is no incident."""

DeliveryContexts = Mapping[int, DeliveryContext]
"""By the delivery's id."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedDelivery:
    """It may go out."""

    message: OutgoingMessage
    subject: str
    problem: str | None
    """Why it is plainer than its template."""
    traceparent: str | None = None
    """As the last event that it tells of was told with it."""
    untrue: Set[int] = frozenset()
    """Failures (seqs) beside what is told that were none."""
    keys: tuple[str, ...] = ()
    """Of what it tells of, in the journal."""


class DeliveryPreparer:
    """`apis` are the Airflows that can be asked, by deployment; it may lack some or be empty. `budget` is
    None where nobody counts."""

    def __init__(
        self,
        database: Database,
        apis: Mapping[str, AirflowReader],
        renderer: Renderer,
        links: Links,
        rules: Callable[[], Rules],
        budget: DeliveryBudget | None,
        confirm_grace: timedelta,
        window: NotificationWindow | None = None,
        failed_templates: FailedTemplates | None = None,
    ) -> None:
        """`window`: what is too old to be notified of, by Airflow's dates; None: nothing is."""
        self._database = database
        self._apis = apis
        self._renderer = renderer
        self._links = links
        self._rules = rules
        self._budget = budget
        self._grace = confirm_grace
        self._window = window
        self._failed_templates = failed_templates
        self._origins: dict[str, datetime] = {}

    async def load(self, deliveries: Sequence[Delivery], now: datetime) -> DeliveryContexts:
        """What they are about, by their ids. Where one of them cannot be read, none is: `prepare` reads each
        by itself."""
        try:
            return await self._read(deliveries, now)
        except Exception:
            logger.exception("%d deliveries could not be read together", len(deliveries))
            return {}

    async def prepare(
        self, delivery: Delivery, contexts: DeliveryContexts, now: datetime
    ) -> PreparedDelivery | Settlement:
        """The message, ready to go, or what else the delivery comes to. `contexts`: what `load` answered."""
        rules = self._rules()
        target = Target(delivery.channel, delivery.recipient)
        resolved = rules.resolve(target)
        if resolved is None:
            reason = f"dead: the rules file names no {delivery.recipient} any more; put it back, then resend"
            return Settlement(DeliveryOutcome(State.DEAD, reason))
        loaded = contexts if delivery.id in contexts else await self._read([delivery], now)
        context = _check_suppression(loaded.get(delivery.id), now)
        if isinstance(context, DeliveryOutcome):
            return Settlement(context)
        confirmed = await self._confirm(context, now)
        if isinstance(confirmed, Settlement):
            return confirmed
        content, untrue = confirmed
        if no_room := await self._no_room(delivery, now):
            return Settlement(no_room, untrue, UNTRUE)
        prepared = await self._prepare_message(context, content, resolved, rules.timezone_of(target))
        return replace(prepared, untrue=untrue) if isinstance(prepared, PreparedDelivery) else prepared

    def release(self, delivery: Delivery, state: State | None) -> None:
        """What became of it; None: nobody knows."""
        if self._budget is not None:
            self._budget.release(delivery, state)

    async def _read(self, deliveries: Sequence[Delivery], now: datetime) -> DeliveryContexts:
        rules = self._rules()
        return await self._database.read(
            lambda connection: load_contexts(connection, deliveries, rules, now, self._apis)
        )

    async def _confirm(
        self, context: DeliveryContext, now: datetime
    ) -> tuple[NotificationContent, Set[int]] | Settlement:
        """What stands, and the failures that do not (seqs), where they are told of for the first time."""
        # A recovery stands or falls with its success; the failures before it may have been cleared since.
        is_recovery = context.delivery.kind is NotificationKind.RECOVERED
        events_asked = context.events[-1:] if is_recovery else context.events
        apart = len(context.events) - len(events_asked)
        answers = await ask_all(self._apis, events_asked)
        if is_recovery and context.incident is not None and context.incident.closed_seq in context.seqs[-1:]:
            answers = [check_order(answer, context.incident) for answer in answers]
        if too_old := await self._too_old(events_asked, answers, context.delivery.created_at):
            return Settlement(DeliveryOutcome(State.SUPPRESSED, too_old))
        confirmed = combine_answers(answers, context.notification.due_at, now, self._grace)
        untrue = {
            context.seqs[apart + at]
            for at, answer in enumerate(answers)
            if answer.confirmation is Confirmation.CONTRADICTED
        }
        if context.delivery.kind not in BEGINNINGS:
            untrue = set()
        if isinstance(confirmed, DeliveryOutcome):
            return Settlement(confirmed, untrue, confirmed.reason)
        before = await self._failures_before(context, context.events[:apart])
        if before is None:
            return Settlement(suppression.NOTHING_TOLD)
        events = (*before, *(events_asked[at] for at in confirmed.confirmed))
        content = NotificationContent(
            delivery=context.delivery,
            notification=context.notification,
            events=events,
            incident=context.incident,
            unconfirmed=confirmed.unconfirmed,
            earlier=context.earlier,
            openings=context.openings,
        )
        return content, untrue

    async def _too_old(
        self, events: Sequence[Event], answers: Sequence[ConfirmationResult], created_at: datetime
    ) -> str | None:
        """Return why nobody is notified of any of these events: by Airflow's dates each was too old when it
        came to be known. How long the delivery has been tried since does not count."""
        window = self._window
        if window is None:
            return None
        reasons = []
        for event, answer in zip(events, answers, strict=True):
            changed = answer.changed_at or find_change_time(event.data)
            if answer.confirmation is Confirmation.CONTRADICTED or changed is None:
                return None
            origin = await self._origin(event.deployment, created_at)
            reasons.append(window.why_not_at(changed, event.deployment, origin, created_at))
        return reasons[0] if reasons and all(reasons) else None

    async def _origin(self, deployment: str, now: datetime) -> datetime:
        if deployment not in self._origins:
            self._origins[deployment] = await self._database.read(
                lambda connection: origin_of(connection, deployment, now)
            )
        return self._origins[deployment]

    async def _failures_before(
        self, context: DeliveryContext, failures: Sequence[Event]
    ) -> Sequence[Event] | None:
        """Of the failures that a recovery tells of, those that stand where nobody was told of them yet. None:
        there is nothing that it would be the recovery of."""
        if not failures or context.thread.is_notified:
            return failures
        answers = await ask_all(self._apis, failures)
        left = [
            event
            for event, answer in zip(failures, answers, strict=True)
            if answer.confirmation is not Confirmation.CONTRADICTED
        ]
        return left if left or context.earlier else None

    async def _no_room(self, delivery: Delivery, now: datetime) -> DeliveryOutcome | ToDigest | None:
        budget = self._budget
        if budget is None or budget.has_room(delivery, now):
            return None
        return await self._database.read(lambda connection: budget.check_room(connection, delivery, now))

    async def _prepare_message(
        self, context: DeliveryContext, content: NotificationContent, resolved: ResolvedTarget, timezone: str
    ) -> PreparedDelivery | Settlement:
        delivery = context.delivery
        envelope = build_envelope(self._links, context, content, timezone)
        message_context = await self._story(context, content)
        try:
            rendered = await self._render(delivery.template, message_context, envelope)
        except ValueError as error:
            return Settlement(DeliveryOutcome(State.DEAD, f"dead: the mail cannot be addressed: {error}"))
        programs = build_webhook_payload(content, envelope, rendered)
        message = OutgoingMessage(
            delivery.message_id, delivery.recipient, resolved, rendered, delivery.kind.value, programs
        )
        traceparent = content.lead.traceparent if content.lead else None
        return PreparedDelivery(message, rendered.subject, rendered.problem, traceparent, keys=context.keys)

    async def _render(
        self, template: str, message_context: MessageContext, envelope: Envelope
    ) -> RenderedMessage:
        """Write the message. A template of the user's runs beside the event loop, which answers meanwhile."""
        if self._renderer.is_overridden(template, message_context):
            rendered = await asyncio.to_thread(self._renderer.render, template, message_context, envelope)
        else:
            rendered = self._renderer.render(template, message_context, envelope)
        if self._failed_templates is not None:
            self._failed_templates.note(template, rendered.problem)
        return rendered

    async def _story(self, context: DeliveryContext, content: NotificationContent) -> MessageContext:
        deployment = content.lead.deployment if content.lead else content.notification.deployment
        airflow = None if content.unconfirmed else self._apis.get(deployment)
        if airflow is None:
            return await build_message_context(
                self._database,
                None,
                content,
                context.content_data if content.events == context.events else None,
            )
        try:
            return await asyncio.wait_for(
                build_message_context(self._database, airflow, content), TELL_SECONDS
            )
        except (TimeoutError, asyncio.TimeoutError):
            return await build_message_context(self._database, None, content)


def _check_suppression(context: DeliveryContext | None, now: datetime) -> DeliveryContext | DeliveryOutcome:
    if context is None or not context.events:
        return DeliveryOutcome(
            State.DEAD, "dead: its events are no longer in the log, so there is nothing to report"
        )
    return suppression.find_objection(context, now) or suppression.drop_silenced(context)
