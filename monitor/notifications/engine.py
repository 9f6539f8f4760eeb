"""The engine, which makes incidents, decisions and notifications of logged events.

The engine runs in the transaction that logs the event. Every failure gets a decision from each rule that
takes it, even if nobody is notified. A failure that no rule takes gets a decision too. So the ledger answers
for every failure.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError, OperationalError

from monitor.database.engine import savepoint
from monitor.events.event import Event
from monitor.notifications import incident_signals, incident_transitions
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
    """`host` is the right side of Message-IDs."""

    def __init__(
        self,
        rules: Callable[[], Rules],
        telling: NotificationWindow,
        choose: Choose,
        host: str,
        metrics: Metrics,
    ) -> None:
        self._rules = rules
        self._telling = telling
        self._choose = choose
        self._host = host
        self._metrics = metrics

    def notify(self, connection: Connection, seq: int, event: Event, now: datetime) -> bool:
        """Decide about an event that has just been logged; answers whether anything is to be sent."""
        return self.notify_all(connection, [(seq, event)], now)

    def notify_all(self, connection: Connection, logged: Sequence[SeqAndEvent], now: datetime) -> bool:
        """The same for several, as if they came one by one.

        An event at which deciding fails is logged all the same, or one event would stop all others for ever:
        its decision says so. Raises OperationalError, InterfaceError: the database is in trouble, and the
        senders keep their events.
        """
        rules = self._rules()
        # The rest are most events: a task begins, a task ends well.
        return self._notify_some(connection, rules, [one for one in logged if _concerns(rules, one[1])], now)

    def _notify_some(
        self, connection: Connection, rules: Rules, logged: Sequence[SeqAndEvent], now: datetime
    ) -> bool:
        if not logged:
            return False
        try:
            with savepoint(connection):
                known = BatchContext(connection, rules, [event for _, event in logged], self._telling, now)
                told = [
                    self._decide_event(known, *one, facts)
                    for one, facts in zip(logged, known.facts, strict=True)
                ]
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            if len(logged) > 1:  # one of them: once more, each by itself
                told = [self._notify_some(connection, rules, [one], now) for one in logged]
                return any(told)
            [(seq, event)] = logged
            logger.exception("the rules failed at %s: it is logged, and nobody is notified", event.id)
            self._metrics.undecided.inc()
            decisions.note(connection, [build_error_decision(seq, event, error, now)])
            return False
        return any(told)

    def _decide_event(self, known: BatchContext, seq: int, event: Event, facts: MatchSubject) -> bool:
        rules, connection = known.rules, known.connection
        taking = rules.find_matching(facts) if rules.asks(event.type) else []
        why_not = known.why_not(event)
        # A task's failure is an incident of its own only where a rule asks for tasks.
        counts = why_not is None and (taking or not event.type.startswith(TASKS))
        change = (
            incident_transitions.apply_event(connection, seq, event, known.open, known.now)
            if counts
            else IncidentChange(Transition.NONE)
        )
        case = DecisionContext(connection, seq, event, known.now, known, facts, change, why_not)
        if not taking:
            if change.course in (Transition.OPENED, Transition.JOINED, Transition.REOPENED):
                decisions.note(connection, [build_unmatched_decision(case)])
            return False
        # Who is told of a recovery is not told of the same success besides, whatever the rules' order.
        first = sorted(taking, key=lambda rule: "recovered" not in rule.notify_on)
        decided = [self._decide(case, rules, rule) for rule in first]
        decisions.note(connection, [one for one in decided if one])
        return any(one and one.notification_id is not None for one in decided)

    def remind(self, connection: Connection, incident: Incident, event: Event, now: datetime) -> bool:
        """Say once more of an incident that is open what its last failure was, where a rule asks for it
        (`repeat`) and nothing was said for so long; answers whether anything is to be sent."""
        rules = self._rules()
        known = BatchContext(connection, rules, [event], self._telling, now)
        [facts] = known.facts
        change = IncidentChange(Transition.JOINED, incident)
        case = DecisionContext(connection, incident.last_seq, event, now, known, facts, change, None)
        decided = [
            self._decide_notification(
                case, rules, rule, NotificationKind.REMINDER, f"rule {rule.name!r}: still open"
            )
            for rule in rules.find_matching(facts)
            if _is_due(connection, rule, incident, now)
        ]
        decisions.note(connection, [one for one in decided if one.notification_id is not None])
        return any(one.notification_id is not None for one in decided)

    def notify_reopened(
        self, connection: Connection, incident: Incident, event: Event, now: datetime
    ) -> bool:
        """Say to those who were told that an incident is over that it is not; `event` is its last failure.
        Answers whether anything is to be sent."""
        rules = self._rules()
        known = BatchContext(connection, rules, [event], self._telling, now)
        [facts] = known.facts
        case = DecisionContext(
            connection,
            incident.last_seq,
            event,
            now,
            known,
            facts,
            IncidentChange(Transition.JOINED, incident),
            None,
        )
        decided = [
            self._decide_notification(
                case, rules, rule, NotificationKind.REMINDER, f"rule {rule.name!r}: not over after all"
            )
            for rule in rules.find_matching(facts)
            if threads.find_last_due(connection, incident.id, rule.name) is not None
        ]
        decisions.note(connection, decided)
        return any(one.notification_id is not None for one in decided)

    def _decide(self, case: DecisionContext, rules: Rules, rule: Rule) -> Decision | None:
        said = judge(rule, case.event, case.change)
        if case.why_not:
            kind = judge(rule, case.event, _if_new(case.event)).kind
            return build_decision(case, rule, RuleVerdict(None, case.why_not)) if kind else None
        if said.kind is NotificationKind.OPENED and (
            shaky := flapping(case.connection, rule, case.change.incident)
        ):
            said = shaky
        if said.kind is None:
            return build_decision(case, rule, said) if said.is_noted else None
        return self._decide_notification(case, rules, rule, said.kind, said.reason)

    def _decide_notification(
        self, case: DecisionContext, rules: Rules, rule: Rule, kind: NotificationKind, because: str
    ) -> Decision:
        if silence := case.known.silence(case.facts):
            return build_decision(
                case, rule, RuleVerdict(None, f"suppressed by {silence}"), silence_id=silence.id
            )
        if kind in (NotificationKind.FOLLOW_UP, NotificationKind.REMINDER) and (
            why := _acknowledgement_reason(case.change.incident)
        ):
            return build_decision(case, rule, RuleVerdict(None, why))
        targets, nobody = self._targets(case, rules, rule, kind)
        if not targets:
            return build_decision(case, rule, RuleVerdict(None, f"{because}; {nobody}"))
        if kind is NotificationKind.FOLLOW_UP and not _is_any_notified(case, rule, targets):
            kind = NotificationKind.OPENED  # the first one was silenced, or taken back
        return self._enqueue(case, rules, rule, kind, because, targets)

    def _targets(
        self, case: DecisionContext, rules: Rules, rule: Rule, kind: NotificationKind
    ) -> tuple[list[Target], str]:
        """Who is told, and why nobody is where that is so."""
        targets = rules.targets(rule, case.facts)
        if not targets:
            refused = "".join(f"; {why}" for why in rules.resolve_route(rule, case.facts).refused)
            return [], f"nobody is named: set NOTIFICATION_EMAIL_TO, or `to` of the rule{refused}"
        if kind is NotificationKind.RECOVERED:
            incident = case.change.incident
            targets = [
                one for one in targets if incident and _is_notified(case.connection, incident, rule, one)
            ]
            case.recovered.update(targets)
            return targets, "nobody was notified of the failure"
        if kind is NotificationKind.SUCCESS:
            targets = [one for one in targets if one not in case.recovered]
            if not targets:
                return [], "notified as recovered"
        wanted = [one for one in targets if not case.known.is_unsubscribed(rule, one)]
        return wanted, "everybody has unsubscribed"

    def _enqueue(
        self,
        case: DecisionContext,
        rules: Rules,
        rule: Rule,
        kind: NotificationKind,
        because: str,
        targets: Sequence[Target],
    ) -> Decision:
        connection, incident = case.connection, case.change.incident
        key = group_key(rule, kind, case.facts, targets)
        if told := find_prior_deliveries(case, rule, kind, targets):
            known = record_prior_deliveries(case, rule, kind, key, self._choose, told, self._host)
            targets = [target for target in targets if target not in told]
            if not targets:
                return known
            decisions.note(connection, [known])
        settles = flapping_delay(rule, kind, case.change)
        waiting = enqueue.open_group(connection, rule.name, key)
        if waiting is not None and may_join(kind, waiting, case.now):
            if settles and incident and waiting.incident_id == incident.id:
                enqueue.postpone(connection, waiting.id, case.now + settles)
            link_if_incident(connection, waiting.id, incident)
            reason = f"{because}; joins notification {waiting.id}, due {waiting.due_at:{MOMENT}} UTC"
            return build_decision(case, rule, RuleVerdict(kind, reason), decisions.GROUPED, waiting.id)
        due = due_at(connection, rules, rule, kind, key, case.now, settles)
        template = self._choose(rule, kind, case.event.type)
        incident_id = incident.id if incident and "dag_id" in rule.group.by else None
        word = NotificationDraft(rule.name, kind, template, key, incident_id, because, due)
        about = SourceEvent.from_event(case.seq, case.event)
        made = enqueue.enqueue(connection, about, word, targets, case.now, self._host)
        link_if_incident(connection, made.id, incident)
        if kind is NotificationKind.RECOVERED:
            self._gather(case, rule, targets, made.id)
        later = f"; due {due:{MOMENT}} UTC" if due > case.now else ""
        return build_decision(case, rule, RuleVerdict(kind, because + later), decisions.NOTIFIED, made.id)

    def _gather(self, case: DecisionContext, rule: Rule, targets: Sequence[Target], into: int) -> None:
        """A follow-up that still waits is told in the recovered instead."""
        key = group_key(rule, NotificationKind.FOLLOW_UP, case.facts, targets)
        waiting = enqueue.open_group(case.connection, rule.name, key)
        if waiting is None or waiting.kind is not NotificationKind.FOLLOW_UP:
            return
        reason = f"reported in the recovery, notification {into}"
        enqueue.gather(case.connection, waiting.id, into, f"superseded: {reason}", case.now)
        decisions.move(case.connection, waiting.id, into, reason)


def _concerns(rules: Rules, event: Event) -> bool:
    """Whether any rule may take it, or any incident be changed by it."""
    return rules.asks(event.type) or (
        not event.type.startswith(TASKS) and incident_signals.concerns(event.type)
    )


def _if_new(event: Event) -> IncidentChange:
    """What the event would have done to an incident, had it been told of in time."""
    signal = incident_signals.signal_of(event)
    is_failure = signal is not None and signal.meaning is Meaning.FAILURE
    return IncidentChange(Transition.OPENED if is_failure else Transition.NONE)


def _is_due(connection: Connection, rule: Rule, incident: Incident, now: datetime) -> bool:
    """Whether it is time to remind of it: of what was told once, and only of that."""
    if rule.repeat is None:
        return False
    last = threads.find_last_due(connection, incident.id, rule.name)
    return last is not None and now - last >= rule.repeat


def _acknowledgement_reason(incident: Incident | None) -> str | None:
    if incident is None or incident.acked_by is None:
        return None
    return f"suppressed: incident {incident.id} is acknowledged by {incident.acked_by}: {incident.ack_reason}"


def _is_any_notified(case: DecisionContext, rule: Rule, targets: Sequence[Target]) -> bool:
    incident = case.change.incident
    return incident is not None and any(_is_notified(case.connection, incident, rule, one) for one in targets)


def _is_notified(connection: Connection, incident: Incident, rule: Rule, target: Target) -> bool:
    return threads.is_notified(connection, incident.id, rule.name, target)
