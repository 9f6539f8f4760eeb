"""From an event to the words that it calls for, in the transaction that logs it: incident → decision →
notification.

Every failure gets a decision of each rule that takes it, also where nobody is told, and one where no rule
takes it: the ledger answers for each one.
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
    Case,
    Known,
    Telling,
    Verdict,
    decision,
    flapping,
    settles_after,
    undecided,
    unmatched,
    verdict,
)
from monitor.notifications.grouping import (
    MOMENT,
    Choose,
    before,
    due_at,
    group_key,
    known_again,
    may_join,
    tells,
)
from monitor.notifications.incident_signals import Meaning
from monitor.notifications.incident_transitions import Change, Course
from monitor.notifications.incidents import Incident
from monitor.notifications.outbox import decisions, enqueue, threads
from monitor.notifications.outbox.enqueue import About, Word
from monitor.notifications.outbox.records import Decision, Kind
from monitor.observability.metrics import Metrics
from monitor.rules.matching import Facts
from monitor.rules.model import Rule
from monitor.rules.ruleset import Rules
from monitor.rules.targets import Target

Logged = tuple[int, Event]
"""An event that has just been logged, and its seq before it."""
TASKS = "airflow.task_instance."

logger = logging.getLogger(__name__)


class Engine:
    """`host` is the right side of Message-IDs."""

    def __init__(
        self, rules: Callable[[], Rules], telling: Telling, choose: Choose, host: str, metrics: Metrics
    ) -> None:
        self._rules = rules
        self._telling = telling
        self._choose = choose
        self._host = host
        self._metrics = metrics

    def tell(self, connection: Connection, seq: int, event: Event, now: datetime) -> bool:
        """Decide about an event that has just been logged; answers whether anything is to be sent."""
        return self.tell_all(connection, [(seq, event)], now)

    def tell_all(self, connection: Connection, logged: Sequence[Logged], now: datetime) -> bool:
        """The same for several, as if they came one by one.

        An event at which deciding fails is logged all the same, or one event would stop all others for ever:
        its decision says so. Raises OperationalError, InterfaceError: the database is in trouble, and the
        senders keep their events.
        """
        rules = self._rules()
        # The rest are most events: a task begins, a task ends well.
        return self._tell_some(connection, rules, [one for one in logged if _concerns(rules, one[1])], now)

    def _tell_some(
        self, connection: Connection, rules: Rules, logged: Sequence[Logged], now: datetime
    ) -> bool:
        if not logged:
            return False
        try:
            with savepoint(connection):
                known = Known(connection, rules, [event for _, event in logged], self._telling, now)
                told = [
                    self._tell(known, *one, facts) for one, facts in zip(logged, known.facts, strict=True)
                ]
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            if len(logged) > 1:  # one of them: once more, each by itself
                told = [self._tell_some(connection, rules, [one], now) for one in logged]
                return any(told)
            [(seq, event)] = logged
            logger.exception("the rules failed at %s: it is logged, and nobody is notified", event.id)
            self._metrics.undecided.inc()
            decisions.note(connection, [undecided(seq, event, error, now)])
            return False
        return any(told)

    def _tell(self, known: Known, seq: int, event: Event, facts: Facts) -> bool:
        rules, connection = known.rules, known.connection
        taking = rules.for_event(facts) if rules.asks(event.type) else []
        why_not = known.why_not(event)
        # A task's failure is an incident of its own only where a rule asks for tasks.
        counts = why_not is None and (taking or not event.type.startswith(TASKS))
        change = (
            incident_transitions.apply(connection, seq, event, known.open, known.now)
            if counts
            else Change(Course.NONE)
        )
        case = Case(connection, seq, event, known.now, known, facts, change, why_not)
        if not taking:
            if change.course in (Course.OPENED, Course.JOINED, Course.REOPENED):
                decisions.note(connection, [unmatched(case)])
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
        known = Known(connection, rules, [event], self._telling, now)
        [facts] = known.facts
        change = Change(Course.JOINED, incident)
        case = Case(connection, incident.last_seq, event, now, known, facts, change, None)
        decided = [
            self._called_for(case, rules, rule, Kind.REMINDER, f"rule {rule.name!r}: still open")
            for rule in rules.for_event(facts)
            if _is_due(connection, rule, incident, now)
        ]
        decisions.note(connection, [one for one in decided if one.notification_id is not None])
        return any(one.notification_id is not None for one in decided)

    def tell_reopened(self, connection: Connection, incident: Incident, event: Event, now: datetime) -> bool:
        """Say to those who were told that an incident is over that it is not; `event` is its last failure.
        Answers whether anything is to be sent."""
        rules = self._rules()
        known = Known(connection, rules, [event], self._telling, now)
        [facts] = known.facts
        case = Case(
            connection, incident.last_seq, event, now, known, facts, Change(Course.JOINED, incident), None
        )
        decided = [
            self._called_for(case, rules, rule, Kind.REMINDER, f"rule {rule.name!r}: not over after all")
            for rule in rules.for_event(facts)
            if threads.last_told(connection, incident.id, rule.name) is not None
        ]
        decisions.note(connection, decided)
        return any(one.notification_id is not None for one in decided)

    def _decide(self, case: Case, rules: Rules, rule: Rule) -> Decision | None:
        said = verdict(rule, case.event, case.change)
        if case.why_not:
            kind = verdict(rule, case.event, _if_new(case.event)).kind
            return decision(case, rule, Verdict(None, case.why_not)) if kind else None
        if said.kind is Kind.OPENED and (shaky := flapping(case.connection, rule, case.change.incident)):
            said = shaky
        if said.kind is None:
            return decision(case, rule, said) if said.is_noted else None
        return self._called_for(case, rules, rule, said.kind, said.reason)

    def _called_for(self, case: Case, rules: Rules, rule: Rule, kind: Kind, because: str) -> Decision:
        if silence := case.known.silence(case.facts):
            return decision(case, rule, Verdict(None, f"suppressed by {silence}"), silence_id=silence.id)
        if kind in (Kind.FOLLOW_UP, Kind.REMINDER) and (why := _acknowledged(case.change.incident)):
            return decision(case, rule, Verdict(None, why))
        targets, nobody = self._targets(case, rules, rule, kind)
        if not targets:
            return decision(case, rule, Verdict(None, f"{because}; {nobody}"))
        if kind is Kind.FOLLOW_UP and not _is_known(case, rule, targets):
            kind = Kind.OPENED  # the first one was silenced, or taken back
        return self._told(case, rules, rule, kind, because, targets)

    def _targets(self, case: Case, rules: Rules, rule: Rule, kind: Kind) -> tuple[list[Target], str]:
        """Who is told, and why nobody is where that is so."""
        targets = rules.targets(rule, case.facts)
        if not targets:
            refused = "".join(f"; {why}" for why in rules.routed(rule, case.facts).refused)
            return [], f"nobody is named: set NOTIFICATION_EMAIL_TO, or `to` of the rule{refused}"
        if kind is Kind.RECOVERED:
            incident = case.change.incident
            targets = [one for one in targets if incident and _hears(case.connection, incident, rule, one)]
            case.recovered.update(targets)
            return targets, "nobody was notified of the failure"
        if kind is Kind.SUCCESS:
            targets = [one for one in targets if one not in case.recovered]
            if not targets:
                return [], "notified as recovered"
        wanted = [one for one in targets if not case.known.is_unsubscribed(rule, one)]
        return wanted, "everybody has unsubscribed"

    def _told(
        self, case: Case, rules: Rules, rule: Rule, kind: Kind, because: str, targets: Sequence[Target]
    ) -> Decision:
        connection, incident = case.connection, case.change.incident
        key = group_key(rule, kind, case.facts, targets)
        if told := before(case, rule, kind, targets):
            known = known_again(case, rule, kind, key, self._choose, told, self._host)
            targets = [target for target in targets if target not in told]
            if not targets:
                return known
            decisions.note(connection, [known])
        settles = settles_after(rule, kind, case.change)
        waiting = enqueue.open_group(connection, rule.name, key)
        if waiting is not None and may_join(kind, waiting, case.now):
            if settles and incident and waiting.incident_id == incident.id:
                enqueue.put_off(connection, waiting.id, case.now + settles)
            tells(connection, waiting.id, incident)
            reason = f"{because}; joins notification {waiting.id}, due {waiting.due_at:{MOMENT}} UTC"
            return decision(case, rule, Verdict(kind, reason), decisions.GROUPED, waiting.id)
        due = due_at(connection, rules, rule, kind, key, case.now, settles)
        template = self._choose(rule, kind, case.event.type)
        incident_id = incident.id if incident and "dag_id" in rule.group.by else None
        word = Word(rule.name, kind, template, key, incident_id, because, due)
        about = About.of(case.seq, case.event)
        made = enqueue.put(connection, about, word, targets, case.now, self._host)
        tells(connection, made.id, incident)
        if kind is Kind.RECOVERED:
            self._gather(case, rule, targets, made.id)
        later = f"; due {due:{MOMENT}} UTC" if due > case.now else ""
        return decision(case, rule, Verdict(kind, because + later), decisions.NOTIFIED, made.id)

    def _gather(self, case: Case, rule: Rule, targets: Sequence[Target], into: int) -> None:
        """A follow-up that still waits is told in the recovered instead."""
        key = group_key(rule, Kind.FOLLOW_UP, case.facts, targets)
        waiting = enqueue.open_group(case.connection, rule.name, key)
        if waiting is None or waiting.kind is not Kind.FOLLOW_UP:
            return
        reason = f"reported in the recovery, notification {into}"
        enqueue.gather(case.connection, waiting.id, into, f"superseded: {reason}", case.now)
        decisions.move(case.connection, waiting.id, into, reason)


def _concerns(rules: Rules, event: Event) -> bool:
    """Whether any rule may take it, or any incident be changed by it."""
    return rules.asks(event.type) or (
        not event.type.startswith(TASKS) and incident_signals.concerns(event.type)
    )


def _if_new(event: Event) -> Change:
    """What the event would have done to an incident, had it been told of in time."""
    signal = incident_signals.signal_of(event)
    is_failure = signal is not None and signal.meaning is Meaning.FAILURE
    return Change(Course.OPENED if is_failure else Course.NONE)


def _is_due(connection: Connection, rule: Rule, incident: Incident, now: datetime) -> bool:
    """Whether it is time to remind of it: of what was told once, and only of that."""
    if rule.repeat is None:
        return False
    last = threads.last_told(connection, incident.id, rule.name)
    return last is not None and now - last >= rule.repeat


def _acknowledged(incident: Incident | None) -> str | None:
    if incident is None or incident.acked_by is None:
        return None
    return f"suppressed: incident {incident.id} is acknowledged by {incident.acked_by}: {incident.ack_reason}"


def _is_known(case: Case, rule: Rule, targets: Sequence[Target]) -> bool:
    incident = case.change.incident
    return incident is not None and any(_hears(case.connection, incident, rule, one) for one in targets)


def _hears(connection: Connection, incident: Incident, rule: Rule, target: Target) -> bool:
    return threads.hears(connection, incident.id, rule.name, target)
