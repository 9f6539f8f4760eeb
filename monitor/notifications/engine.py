"""The engine, which makes incidents, decisions and notifications of logged events.

The engine runs in the transaction that logs the event. Every failure gets a decision from each rule that
takes it, even if it causes no notification. A failure that no rule takes gets a decision too. So the ledger
answers for every failure.

`Reminders` is the loop that reminds of each open incident, for the rules that ask for it (`repeat`)."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError, OperationalError

from monitor.clock import Clock
from monitor.concurrency import OnDefect, WakeSignal, repeat_look
from monitor.database.engine import Database, savepoint
from monitor.database.pubsub import DELIVERY, signal
from monitor.event_log import append, read
from monitor.events.event import Event
from monitor.notifications import incident_signals, incident_transitions, incidents
from monitor.notifications.decision import (
    BatchContext,
    DecisionContext,
    NotificationWindow,
    RuleVerdict,
    build_decision,
    build_error_decision,
    build_unmatched_decision,
    flapping,
    flapping_delay,
    judge,
)
from monitor.notifications.grouping import (
    MOMENT,
    Choose,
    due_at,
    find_prior_deliveries,
    group_key,
    link_if_incident,
    may_join,
    record_prior_deliveries,
)
from monitor.notifications.incident_signals import Meaning
from monitor.notifications.incident_transitions import IncidentChange, Transition
from monitor.notifications.incidents import Incident
from monitor.notifications.outbox import decisions, enqueue, threads
from monitor.notifications.outbox.enqueue import NotificationDraft, SourceEvent
from monitor.notifications.outbox.records import Decision, NotificationKind
from monitor.observability.metrics import Metrics
from monitor.rules.matching import MatchSubject
from monitor.rules.model import Rule
from monitor.rules.ruleset import Rules
from monitor.rules.targets import Target

SeqAndEvent = tuple[int, Event]
"""An event that has just been logged, and its seq before it."""
TASKS = "airflow.task_instance."

logger = logging.getLogger(__name__)


class Engine:
    """The engine. `host` is the right side of Message-IDs."""

    def __init__(
        self,
        rules: Callable[[], Rules],
        window: NotificationWindow,
        choose: Choose,
        host: str,
        metrics: Metrics,
    ) -> None:
        self._rules = rules
        self._window = window
        self._choose = choose
        self._host = host
        self._metrics = metrics

    def notify(self, connection: Connection, seq: int, event: Event, now: datetime) -> bool:
        """Decide about an event that has just been logged. Return True if anything is to be sent."""
        return self.notify_all(connection, [(seq, event)], now)

    def notify_all(self, connection: Connection, logged: Sequence[SeqAndEvent], now: datetime) -> bool:
        """Decide about several events, as if they came one by one.
        Return True if anything is to be sent.

        An event at which deciding fails is logged all the same, or one event would stop all others for ever.
        Its decision says so. Raises OperationalError and InterfaceError if the database is in trouble, and
        then the senders keep their events."""
        rules = self._rules()
        # The rest are most events: a task begins, a task ends well.
        return self._notify_some(
            connection, rules, [item for item in logged if _concerns(rules, item[1])], now
        )

    def _notify_some(
        self, connection: Connection, rules: Rules, logged: Sequence[SeqAndEvent], now: datetime
    ) -> bool:
        if not logged:
            return False
        try:
            with savepoint(connection):
                batch = BatchContext(connection, rules, [event for _, event in logged], self._window, now)
                results = [
                    self._decide_event(batch, *item, facts)
                    for item, facts in zip(logged, batch.facts, strict=True)
                ]
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            if len(logged) > 1:  # one of them: once more, each by itself
                results = [self._notify_some(connection, rules, [item], now) for item in logged]
                return any(results)
            [(seq, event)] = logged
            logger.exception("the rules failed at %s: it is logged, and nobody is notified", event.id)
            self._metrics.undecided.inc()
            decisions.note(connection, [build_error_decision(seq, event, error, now)])
            return False
        return any(results)

    def _decide_event(self, batch: BatchContext, seq: int, event: Event, facts: MatchSubject) -> bool:
        rules, connection = batch.rules, batch.connection
        taking = rules.find_matching(facts) if rules.asks(event.type) else []
        why_not = batch.why_not(event)
        # A task's failure is an incident of its own only where a rule asks for tasks.
        counts = why_not is None and (taking or not event.type.startswith(TASKS))
        change = (
            incident_transitions.apply_event(connection, seq, event, batch.open, batch.now)
            if counts
            else IncidentChange(Transition.NONE)
        )
        context = DecisionContext(connection, seq, event, batch.now, batch, facts, change, why_not)
        if not taking:
            if change.transition in (Transition.OPENED, Transition.JOINED, Transition.REOPENED):
                decisions.note(connection, [build_unmatched_decision(context)])
            return False
        # A recipient of a recovery is not notified of the same success as well, whatever the rules' order.
        first = sorted(taking, key=lambda rule: "recovered" not in rule.notify_on)
        decided = [self._decide(context, rules, rule) for rule in first]
        decisions.note(connection, [decision for decision in decided if decision])
        return any(decision and decision.notification_id is not None for decision in decided)

    def remind(self, connection: Connection, incident: Incident, event: Event, now: datetime) -> bool:
        """Repeat an open incident's last failure if a rule asks for that (`repeat`) and the time has come.
        Return True if anything is to be sent."""
        rules = self._rules()
        batch = BatchContext(connection, rules, [event], self._window, now)
        [facts] = batch.facts
        change = IncidentChange(Transition.JOINED, incident)
        context = DecisionContext(connection, incident.last_seq, event, now, batch, facts, change, None)
        decided = [
            self._decide_notification(
                context, rules, rule, NotificationKind.REMINDER, f"rule {rule.name!r}: still open"
            )
            for rule in rules.find_matching(facts)
            if _is_due(connection, rule, incident, now)
        ]
        decisions.note(connection, [decision for decision in decided if decision.notification_id is not None])
        return any(decision.notification_id is not None for decision in decided)

    def notify_reopened(
        self, connection: Connection, incident: Incident, event: Event, now: datetime
    ) -> bool:
        """Notify those who learned of an incident's end that it is not over.
        `event` is the incident's last failure. Return True if anything is to be sent."""
        rules = self._rules()
        batch = BatchContext(connection, rules, [event], self._window, now)
        [facts] = batch.facts
        context = DecisionContext(
            connection,
            incident.last_seq,
            event,
            now,
            batch,
            facts,
            IncidentChange(Transition.JOINED, incident),
            None,
        )
        decided = [
            self._decide_notification(
                context, rules, rule, NotificationKind.REMINDER, f"rule {rule.name!r}: not over after all"
            )
            for rule in rules.find_matching(facts)
            if threads.find_last_due(connection, incident.id, rule.name) is not None
        ]
        decisions.note(connection, decided)
        return any(decision.notification_id is not None for decision in decided)

    def _decide(self, context: DecisionContext, rules: Rules, rule: Rule) -> Decision | None:
        rule_verdict = judge(rule, context.event, context.change)
        if context.why_not:
            kind = judge(rule, context.event, _if_new(context.event)).kind
            return build_decision(context, rule, RuleVerdict(None, context.why_not)) if kind else None
        if rule_verdict.kind is NotificationKind.OPENED and (
            shaky := flapping(context.connection, rule, context.change.incident)
        ):
            rule_verdict = shaky
        if rule_verdict.kind is None:
            return build_decision(context, rule, rule_verdict) if rule_verdict.is_noted else None
        return self._decide_notification(context, rules, rule, rule_verdict.kind, rule_verdict.reason)

    def _decide_notification(
        self, context: DecisionContext, rules: Rules, rule: Rule, kind: NotificationKind, because: str
    ) -> Decision:
        if silence := context.batch.silence(context.facts):
            return build_decision(
                context, rule, RuleVerdict(None, f"suppressed by {silence}"), silence_id=silence.id
            )
        if kind in (NotificationKind.FOLLOW_UP, NotificationKind.REMINDER) and (
            why := _acknowledgement_reason(context.change.incident, context.now)
        ):
            return build_decision(context, rule, RuleVerdict(None, why))
        targets, nobody = self._targets(context, rules, rule, kind)
        if not targets:
            return build_decision(context, rule, RuleVerdict(None, f"{because}; {nobody}"))
        if kind is NotificationKind.FOLLOW_UP and not _is_any_notified(context, rule, targets):
            kind = NotificationKind.OPENED  # the first one was silenced, or taken back
        return self._enqueue(context, rules, rule, kind, because, targets)

    def _targets(
        self, context: DecisionContext, rules: Rules, rule: Rule, kind: NotificationKind
    ) -> tuple[list[Target], str]:
        """Return the recipients, and the reason if there are none."""
        targets = rules.targets(rule, context.facts)
        if not targets:
            refused = "".join(f"; {why}" for why in rules.resolve_route(rule, context.facts).refused)
            return [], f"nobody is named: set NOTIFICATION_EMAIL_TO, or `to` of the rule{refused}"
        if kind is NotificationKind.RECOVERED:
            incident = context.change.incident
            targets = [
                target
                for target in targets
                if incident and _is_notified(context.connection, incident, rule, target)
            ]
            context.recovered.update(targets)
            return targets, "nobody was notified of the failure"
        if kind is NotificationKind.SUCCESS:
            targets = [target for target in targets if target not in context.recovered]
            if not targets:
                return [], "notified as recovered"
        subscribed = [target for target in targets if not context.batch.is_unsubscribed(rule, target)]
        return subscribed, "everybody has unsubscribed"

    def _enqueue(
        self,
        context: DecisionContext,
        rules: Rules,
        rule: Rule,
        kind: NotificationKind,
        because: str,
        targets: Sequence[Target],
    ) -> Decision:
        connection, incident = context.connection, context.change.incident
        key = group_key(rule, kind, context.facts, targets)
        if prior_deliveries := find_prior_deliveries(context, rule, kind, targets):
            decision = record_prior_deliveries(
                context, rule, kind, key, self._choose, prior_deliveries, self._host
            )
            targets = [target for target in targets if target not in prior_deliveries]
            if not targets:
                return decision
            decisions.note(connection, [decision])
        settles = flapping_delay(rule, kind, context.change)
        group = enqueue.open_group(connection, rule.name, key)
        if group is not None and may_join(kind, group, context.now):
            if settles and incident and group.incident_id == incident.id:
                enqueue.postpone(connection, group.id, context.now + settles)
            link_if_incident(connection, group.id, incident)
            reason = f"{because}; joins notification {group.id}, due {group.due_at:{MOMENT}} UTC"
            return build_decision(context, rule, RuleVerdict(kind, reason), decisions.GROUPED, group.id)
        due = due_at(connection, rules, rule, kind, key, context.now, settles)
        template = self._choose(rule, kind, context.event.type)
        incident_id = incident.id if incident and "dag_id" in rule.group.by else None
        draft = NotificationDraft(rule.name, kind, template, key, incident_id, because, due)
        about = SourceEvent.from_event(context.seq, context.event)
        made = enqueue.enqueue(connection, about, draft, targets, context.now, self._host)
        link_if_incident(connection, made.id, incident)
        if kind is NotificationKind.RECOVERED:
            self._gather(context, rule, targets, made.id)
        later = f"; due {due:{MOMENT}} UTC" if due > context.now else ""
        return build_decision(context, rule, RuleVerdict(kind, because + later), decisions.NOTIFIED, made.id)

    def _gather(self, context: DecisionContext, rule: Rule, targets: Sequence[Target], into: int) -> None:
        """Gather a waiting follow-up into the recovery, which reports it instead."""
        key = group_key(rule, NotificationKind.FOLLOW_UP, context.facts, targets)
        group = enqueue.open_group(context.connection, rule.name, key)
        if group is None or group.kind is not NotificationKind.FOLLOW_UP:
            return
        reason = f"reported in the recovery, notification {into}"
        enqueue.gather(context.connection, group.id, into, f"superseded: {reason}", context.now)
        decisions.move(context.connection, group.id, into, reason)


def _concerns(rules: Rules, event: Event) -> bool:
    """Return True if any rule may take the event, or the event may change any incident."""
    return rules.asks(event.type) or (
        not event.type.startswith(TASKS) and incident_signals.concerns(event.type)
    )


def _if_new(event: Event) -> IncidentChange:
    """Return what the event would have done to an incident if it had been known in time."""
    signal = incident_signals.signal_of(event)
    is_failure = signal is not None and signal.meaning is Meaning.FAILURE
    return IncidentChange(Transition.OPENED if is_failure else Transition.NONE)


def _is_due(connection: Connection, rule: Rule, incident: Incident, now: datetime) -> bool:
    """Return True if a reminder of the incident is due. Only what was reported once is repeated."""
    if rule.repeat is None:
        return False
    last = threads.find_last_due(connection, incident.id, rule.name)
    return last is not None and now - last >= rule.repeat


def _acknowledgement_reason(incident: Incident | None, now: datetime) -> str | None:
    incident = incident and incident.drop_lapsed(now)
    if incident is None or incident.acked_by is None:
        return None
    return f"suppressed: incident {incident.id} is acknowledged by {incident.acked_by}: {incident.ack_reason}"


def _is_any_notified(context: DecisionContext, rule: Rule, targets: Sequence[Target]) -> bool:
    incident = context.change.incident
    return incident is not None and any(
        _is_notified(context.connection, incident, rule, target) for target in targets
    )


def _is_notified(connection: Connection, incident: Incident, rule: Rule, target: Target) -> bool:
    return threads.is_notified(connection, incident.id, rule.name, target)


EVERY = 60.0  # seconds: the shortest `repeat` that makes sense is far longer
AT_ONCE = 100  # incidents in one transaction, so that ingest never waits long


class Reminders:
    """The reminders of open incidents. `run()` is the background task, and `look()` is one round."""

    def __init__(
        self, database: Database, engine: Engine, delivery: WakeSignal, clock: Clock, on_defect: OnDefect
    ) -> None:
        self._database = database
        self._engine = engine
        self._delivery = delivery
        self._clock = clock
        self._on_defect = on_defect

    async def run(self) -> None:
        """Look again and again, until canceled."""
        await repeat_look(self.look, EVERY, "nobody is reminded of open incidents", self._on_defect)

    async def look(self) -> None:
        """Remind of every incident of which it is time. Raises SQLAlchemyError."""
        after: int | None = 0
        while after is not None:
            start = after
            after, called_for = await self._database.write(lambda connection: self._some(connection, start))  # noqa: B023 (awaited here)
            if called_for:
                self._delivery.set()

    def _some(self, connection: Connection, after: int) -> tuple[int | None, bool]:
        """Remind of some incidents behind an id.
        Return where to go on, and whether anything is to be sent.

        This happens under the log's lock, so the second of two replicas sees what the first has notified."""
        append.lock(connection)
        found = incidents.open_ones(connection, after, AT_ONCE)
        called_for = False
        for incident in found:
            event = read.find_event(connection, incident.last_seq)
            if event is not None:
                called_for |= self._engine.remind(connection, incident, event, self._clock())
        if called_for:
            signal(connection, DELIVERY)
        return (found[-1].id if len(found) == AT_ONCE else None), called_for
