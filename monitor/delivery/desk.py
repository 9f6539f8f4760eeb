"""What happens to a delivery before anybody outside hears of it: load, object, confirm, tell, render."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from monitor.channels import Parcel
from monitor.database import Database
from monitor.delivery import objections
from monitor.delivery.airflow import Airflow
from monitor.delivery.budget import Budget, ToDigest
from monitor.delivery.case import Case, cases_of
from monitor.delivery.closing import Closing
from monitor.delivery.confirm import Answer, Word, ask_all
from monitor.delivery.failed_templates import FailedTemplates
from monitor.delivery.letters import letter_for
from monitor.delivery.programs import for_programs
from monitor.delivery.storyteller import tell
from monitor.delivery.told import Told
from monitor.delivery.verdict import verdict
from monitor.events import Event
from monitor.events.reports import changed_at
from monitor.links import Links
from monitor.origins import origin_of
from monitor.outbox import Delivery, Kind, Outcome, State
from monitor.render import Letter, Rendered, Renderer, Story
from monitor.rules import Resolved, Rules, Target
from monitor.telling import Telling

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
            return Closing(objections.NOTHING_TOLD)
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
    return objections.against(case, now) or objections.without_silenced(case)
