"""The preparation of claimed deliveries: confirm, enrich and render them."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from monitor.database.engine import Database
from monitor.delivery import suppression
from monitor.delivery.channels.base import Parcel
from monitor.delivery.confirm import Airflow, Answer, Word, ask_all, verdict
from monitor.delivery.context import Case, cases_of
from monitor.delivery.messages.content import Told
from monitor.delivery.messages.enrich import tell
from monitor.delivery.messages.links import Links
from monitor.delivery.messages.mime import Letter
from monitor.delivery.messages.model import Story
from monitor.delivery.messages.renderer import Rendered, Renderer
from monitor.delivery.messages.templates import FailedTemplates
from monitor.delivery.settle import Closing
from monitor.delivery.suppression import Budget, ToDigest
from monitor.event_log.deployments import origin_of
from monitor.events.event import Event
from monitor.events.identity import stamp
from monitor.events.reports import changed_at
from monitor.notifications import silences
from monitor.notifications.decision import Telling
from monitor.notifications.incidents import Incident
from monitor.notifications.outbox.records import Delivery, Kind, Outcome, State
from monitor.rules.ruleset import Rules
from monitor.rules.targets import Channel, Resolved, Target

UNDONE = (Kind.RECOVERED, Kind.SUCCESS, Kind.DIGEST)
"""Of these there is nothing to acknowledge."""


def letter_for(links: Links, case: Case, told: Told, timezone: str) -> Letter:
    delivery, lead = case.delivery, told.lead
    incident = case.incident
    may_acknowledge = incident and incident.is_open and delivery.kind not in UNDONE
    is_mail = delivery.channel is Channel.EMAIL
    # Whom a digest tells, it tells of many DAGs.
    is_digest = delivery.kind is Kind.DIGEST
    silence_label, silence_url = ("", None) if is_digest else _silence(links, incident, lead)
    return Letter(
        message_id=delivery.message_id,
        recipient=delivery.recipient,
        rule=delivery.rule,
        timezone=timezone,
        references=case.thread.references,
        subject=case.thread.subject,
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
    named = silences.named_by(lead) if lead else {}
    if lead is None or not named:
        return "", None
    what = "asset" if "asset" in named else "task" if "task_id" in named else "DAG"
    if "type" in named:
        what = "kind of message"
    return f"Silence this {what}", links.silence(lead.deployment, **named)


def for_programs(told: Told, letter: Letter, subject: str) -> Mapping[str, Any]:
    delivery, notification = told.delivery, told.notification
    return {
        "type": f"windsock.notification.{notification.kind.value}",
        "timestamp": stamp(notification.created_at),
        "data": {
            "message_id": delivery.message_id,
            "deployment": notification.deployment,
            "rule": delivery.rule,
            "kind": notification.kind.value,
            "subject": subject,
            "incident": _incident(told.incident),
            "events": [json.loads(event.body) for event in told.events],
            "earlier": told.earlier,
            "unconfirmed": told.unconfirmed,
            "links": {"silence": letter.silence_url, "acknowledge": letter.acknowledge_url},
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
BEGINNINGS = (Kind.OPENED, Kind.FAILURE)
"""What tells of an incident's failures for the first time: where they are untrue, there is no incident."""

Cases = Mapping[int, Case]
"""By the delivery's id."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ready:
    """It may go out."""

    parcel: Parcel
    subject: str
    problem: str | None
    """Why it is plainer than its template."""
    traceparent: str | None = None
    """As the last event that it tells of was told with it."""
    untrue: Set[int] = frozenset()
    """Failures (seqs) beside what is told that were none."""
    keys: tuple[str, ...] = ()
    """Of what it tells of, in the journal."""


class Desk:
    """`apis` are the Airflows that can be asked, by deployment; it may lack some or be empty. `budget` is
    None where nobody counts."""

    def __init__(
        self,
        database: Database,
        apis: Mapping[str, Airflow],
        renderer: Renderer,
        links: Links,
        rules: Callable[[], Rules],
        budget: Budget | None,
        confirm_grace: timedelta,
        telling: Telling | None = None,
        failed_templates: FailedTemplates | None = None,
    ) -> None:
        """`telling`: what is too old to be notified of, by Airflow's dates; None: nothing is."""
        self._database = database
        self._apis = apis
        self._renderer = renderer
        self._links = links
        self._rules = rules
        self._budget = budget
        self._grace = confirm_grace
        self._telling = telling
        self._failed_templates = failed_templates
        self._origins: dict[str, datetime] = {}

    async def load(self, deliveries: Sequence[Delivery], now: datetime) -> Cases:
        """What they are about, by their ids. Where one of them cannot be read, none is: `prepare` reads each
        by itself."""
        try:
            return await self._read(deliveries, now)
        except Exception:
            logger.exception("%d deliveries could not be read together", len(deliveries))
            return {}

    async def prepare(self, delivery: Delivery, cases: Cases, now: datetime) -> Ready | Closing:
        """The parcel, ready to be sent, or what else the delivery comes to. `cases`: what `load` answered."""
        rules = self._rules()
        target = Target(delivery.channel, delivery.recipient)
        resolved = rules.resolve(target)
        if resolved is None:
            reason = f"dead: the rules file names no {delivery.recipient} any more; put it back, then resend"
            return Closing(Outcome(State.DEAD, reason))
        known = cases if delivery.id in cases else await self._read([delivery], now)
        case = _unopposed(known.get(delivery.id), now)
        if isinstance(case, Outcome):
            return Closing(case)
        confirmed = await self._confirmed(case, now)
        if isinstance(confirmed, Closing):
            return confirmed
        told, untrue = confirmed
        if no_room := await self._no_room(delivery, now):
            return Closing(no_room, untrue, UNTRUE)
        ready = await self._written(case, told, resolved, rules.timezone_of(target))
        return replace(ready, untrue=untrue) if isinstance(ready, Ready) else ready

    def done(self, delivery: Delivery, state: State | None) -> None:
        """What became of it; None: nobody knows."""
        if self._budget is not None:
            self._budget.done(delivery, state)

    async def _read(self, deliveries: Sequence[Delivery], now: datetime) -> Cases:
        rules = self._rules()
        return await self._database.read(
            lambda connection: cases_of(connection, deliveries, rules, now, self._apis)
        )

    async def _confirmed(self, case: Case, now: datetime) -> tuple[Told, Set[int]] | Closing:
        """What stands, and the failures that do not (seqs), where they are told of for the first time."""
        # A recovery stands or falls with its success; the failures before it may have been cleared since.
        asked = case.events[-1:] if case.delivery.kind is Kind.RECOVERED else case.events
        apart = len(case.events) - len(asked)
        answers = await ask_all(self._apis, asked)
        if too_old := await self._too_old(asked, answers, case.delivery.created_at):
            return Closing(Outcome(State.SUPPRESSED, too_old))
        said = verdict(answers, case.notification.due_at, now, self._grace)
        untrue = {case.seqs[apart + at] for at, answer in enumerate(answers) if answer.word is Word.NOT_SO}
        if case.delivery.kind not in BEGINNINGS:
            untrue = set()
        if isinstance(said, Outcome):
            return Closing(said, untrue, said.reason)
        before = await self._failures_before(case, case.events[:apart])
        if before is None:
            return Closing(suppression.NOTHING_TOLD)
        events = (*before, *(asked[at] for at in said.standing))
        told = Told(
            *(case.delivery, case.notification, events, case.incident, said.unconfirmed),
            earlier=case.earlier,
            openings=case.openings,
        )
        return told, untrue

    async def _too_old(
        self, asked: Sequence[Event], answers: Sequence[Answer], known_at: datetime
    ) -> str | None:
        """Return why nobody is notified of any of these events: by Airflow's dates each was too old when it
        came to be known. How long the delivery has been tried since does not count."""
        telling = self._telling
        if telling is None:
            return None
        reasons = []
        for event, answer in zip(asked, answers, strict=True):
            changed = answer.changed_at or changed_at(event.data)
            if answer.word is Word.NOT_SO or changed is None:
                return None
            origin = await self._origin(event.deployment, known_at)
            reasons.append(telling.why_not_at(changed, event.deployment, origin, known_at))
        return reasons[0] if reasons and all(reasons) else None

    async def _origin(self, deployment: str, now: datetime) -> datetime:
        if deployment not in self._origins:
            self._origins[deployment] = await self._database.read(
                lambda connection: origin_of(connection, deployment, now)
            )
        return self._origins[deployment]

    async def _failures_before(self, case: Case, failures: Sequence[Event]) -> Sequence[Event] | None:
        """Of the failures that a recovery tells of, those that stand where nobody was told of them yet. None:
        there is nothing that it would be the recovery of."""
        if not failures or case.thread.is_told:
            return failures
        answers = await ask_all(self._apis, failures)
        left = [one for one, answer in zip(failures, answers, strict=True) if answer.word is not Word.NOT_SO]
        return left if left or case.earlier else None

    async def _no_room(self, delivery: Delivery, now: datetime) -> Outcome | ToDigest | None:
        budget = self._budget
        if budget is None or budget.has_room(delivery, now):
            return None
        return await self._database.read(lambda connection: budget.against(connection, delivery, now))

    async def _written(self, case: Case, told: Told, resolved: Resolved, timezone: str) -> Ready | Closing:
        delivery = case.delivery
        letter = letter_for(self._links, case, told, timezone)
        story = await self._story(case, told)
        try:
            rendered = await self._render(delivery.template, story, letter)
        except ValueError as error:
            return Closing(Outcome(State.DEAD, f"dead: the mail cannot be addressed: {error}"))
        programs = for_programs(told, letter, rendered.subject)
        parcel = Parcel(
            delivery.message_id, delivery.recipient, resolved, rendered, delivery.kind.value, programs
        )
        traceparent = told.lead.traceparent if told.lead else None
        return Ready(parcel, rendered.subject, rendered.problem, traceparent, keys=case.keys)

    async def _render(self, template: str, story: Story, letter: Letter) -> Rendered:
        """Write the message. A template of the user's runs beside the event loop, which answers meanwhile."""
        if self._renderer.is_overridden(template, story):
            rendered = await asyncio.to_thread(self._renderer.render, template, story, letter)
        else:
            rendered = self._renderer.render(template, story, letter)
        if self._failed_templates is not None:
            self._failed_templates.note(template, rendered.problem)
        return rendered

    async def _story(self, case: Case, told: Told) -> Story:
        deployment = told.lead.deployment if told.lead else told.notification.deployment
        airflow = None if told.unconfirmed else self._apis.get(deployment)
        if airflow is None:
            return await tell(self._database, None, told, case.known if told.events == case.events else None)
        try:
            return await asyncio.wait_for(tell(self._database, airflow, told), TELL_SECONDS)
        except (TimeoutError, asyncio.TimeoutError):
            return await tell(self._database, None, told)


def _unopposed(case: Case | None, now: datetime) -> Case | Outcome:
    if case is None or not case.events:
        return Outcome(State.DEAD, "dead: its events are no longer in the log, so there is nothing to report")
    return suppression.against(case, now) or suppression.without_silenced(case)
