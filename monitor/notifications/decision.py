"""The decision of one rule about one event.

`judge` says whether the rule notifies, and of what kind the notification is. An incident that opens and
closes again and again is reported once as flapping (`flapping`), and from then on only what lasts is
reported.

A failure soon after the end of a flapping incident opens the same incident again (incident_transitions.py).
Its end is reported after a quiet time, and so is a failure that lasts as long (`flapping_delay`). So the last
message never says that all is well while something is wrong.

`NotificationWindow` says which events are too old for a mail. The log keeps them and feeds show them. The
mails that they call for are suppressed, and the ledger says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from sqlalchemy import Connection

from monitor.event_log.deployments import origin_of
from monitor.event_log.projections import dags, runs
from monitor.events.data import TEMPORARY_RUN, TEST, TaskInstanceData
from monitor.events.event import Event
from monitor.events.reports import LISTENER
from monitor.notifications import incidents, silences
from monitor.notifications.incident_signals import SUCCESSES
from monitor.notifications.incident_transitions import IncidentChange, OpenIncidents, Transition
from monitor.notifications.incidents import Incident
from monitor.notifications.outbox import already_sent, decisions
from monitor.notifications.outbox.records import Decision, NotificationKind
from monitor.notifications.silences import Silence
from monitor.rules.matching import MatchSubject
from monitor.rules.model import Flapping, Rule
from monitor.rules.ruleset import Rules
from monitor.rules.targets import ChannelName, Target


@dataclass(frozen=True)
class RuleVerdict:
    """The verdict of a rule about an event.
    Without `kind` no notification is made, and with `is_noted` the ledger records that."""

    kind: NotificationKind | None
    reason: str
    is_noted: bool = True


def judge(rule: Rule, event: Event, change: IncidentChange) -> RuleVerdict:
    """Return the rule's verdict about an event and its change of an incident."""
    match change.transition:
        case Transition.OPENED | Transition.JOINED | Transition.REOPENED:
            return _judge_failure(rule, change)
        case Transition.CLOSED:
            return _judge_recovery(rule, event, change)
        case Transition.NONE:
            return _judge_other(rule, event)


def _judge_failure(rule: Rule, change: IncidentChange) -> RuleVerdict:
    number = change.incident.failures if change.incident else 1
    name = f"incident {change.incident.id}" if change.incident else "an incident"
    if "every_failure" in rule.notify_on:
        return RuleVerdict(
            NotificationKind.FAILURE,
            f"rule {rule.name!r} notifies on every failure; number {number} of {name}",
        )
    if "first_failure" not in rule.notify_on:
        return RuleVerdict(None, f"rule {rule.name!r} does not notify on failures")
    if change.transition is Transition.OPENED:
        return RuleVerdict(NotificationKind.OPENED, f"rule {rule.name!r}: the first failure, opens {name}")
    if change.transition is Transition.REOPENED and (rule.flapping is None or change.is_recovery_notified):
        return RuleVerdict(
            NotificationKind.OPENED, f"rule {rule.name!r}: failure {number}, opens {name} again"
        )
    return RuleVerdict(NotificationKind.FOLLOW_UP, f"rule {rule.name!r}: failure {number} of {name}")


def _judge_recovery(rule: Rule, event: Event, change: IncidentChange) -> RuleVerdict:
    name = f"incident {change.incident.id}" if change.incident else "an incident"
    if "recovered" in rule.notify_on:
        return RuleVerdict(NotificationKind.RECOVERED, f"rule {rule.name!r}: closes {name}")
    return _judge_other(rule, event)


def _judge_other(rule: Rule, event: Event) -> RuleVerdict:
    if event.type in SUCCESSES:
        if "success" in rule.notify_on:
            return RuleVerdict(NotificationKind.SUCCESS, f"rule {rule.name!r} notifies on every success")
        return RuleVerdict(None, "a success, and nothing was wrong", is_noted=False)
    if "notice" in rule.notify_on:
        return RuleVerdict(NotificationKind.NOTICE, f"rule {rule.name!r}: {event.type}")
    return RuleVerdict(None, f"rule {rule.name!r} does not notify on notices", is_noted=False)


def flapping(connection: Connection, rule: Rule, incident: Incident | None) -> RuleVerdict | None:
    """Return what to say of an opening that is one of too many, or None if it is not."""
    if incident is None or rule.flapping is None:
        return None
    since = incident.opened_at - rule.flapping.within
    openings = incidents.recent(connection, incident.deployment, incident.key, since)
    if len(openings) < rule.flapping.openings:
        return None
    incidents.mark_flapping(connection, incident, quiet_for(rule.flapping))
    often = f"flapping: opened {len(openings)} times since {since:%Y-%m-%d %H:%M} UTC"
    return RuleVerdict(NotificationKind.FLAPPING, f"rule {rule.name!r}: {often}")


def quiet_for(limits: Flapping) -> timedelta:
    """Return the time between two openings at the rate of flapping. What lasts longer is no flapping."""
    return limits.within / limits.openings


def flapping_delay(rule: Rule, kind: NotificationKind, change: IncidentChange) -> timedelta | None:
    """Return how long the end, or the next failure, of a flapping incident has to last to be reported."""
    if rule.flapping is None or change.incident is None or not change.incident.flapping:
        return None
    if kind is NotificationKind.RECOVERED or (
        kind is NotificationKind.FOLLOW_UP and change.transition is Transition.REOPENED
    ):
        return change.incident.quiet
    return None


@dataclass(frozen=True)
class NotificationWindow:
    """The age up to which people are mailed about an event.
    `within` bounds an event's age when it becomes known. `asked_deployments` are those whose Airflow the
    monitor asks, so that a sender's dates decide nothing."""

    within: timedelta
    asked_deployments: frozenset[str] = frozenset()

    def why_not(self, event: Event, origin: datetime, now: datetime) -> str | None:
        """Return why people are no longer mailed about this event.
        None means that they are, or that Airflow's dates decide when the mail is confirmed. `origin` is the
        moment from which its deployment is reported."""
        if event.data.reported_by == LISTENER and event.deployment in self.asked_deployments:
            return None
        return self.why_not_at(event.time, event.deployment, origin, now)

    def why_not_at(self, time: datetime, deployment: str, origin: datetime, now: datetime) -> str | None:
        """Return why people are no longer mailed about what happened at `time`, or None if they are."""
        if time < origin:
            return (
                f"suppressed: it happened before {origin:%Y-%m-%d %H:%M:%S} UTC, since when Windsock "
                f"reports {deployment}"
            )
        if now - time > self.within:
            late = (now - time).total_seconds() / 3600
            return f"suppressed: it came to be known {late:.1f} h late; see WINDSOCK_NOTIFY_MAX_AGE_HOURS"
        return None


class BatchContext:
    """The values that decisions of one transaction share.
    They stay the same meanwhile, except that a person may silence or unsubscribe at this very moment.
    Delivery asks for those two once more."""

    def __init__(
        self,
        connection: Connection,
        rules: Rules,
        events: Sequence[Event],
        window: NotificationWindow,
        now: datetime,
    ) -> None:
        self.connection, self.rules, self.now = connection, rules, now
        self.open = OpenIncidents(connection, events)
        """Kept up to what the events change."""
        self.facts: list[MatchSubject] = dags.facts_of_all(connection, events)
        """The subject of each event, in order."""
        self._events = events
        self._window = window
        self._origins: dict[str, datetime] = {}
        self._unsubscribed: dict[tuple[str, str], bool] = {}

    def why_not(self, event: Event) -> str | None:
        """Return why people are not mailed about an event, or None if they are."""
        if self._is_test(event):
            return "suppressed: a test (airflow dags test, airflow tasks test) is no production"
        if event.deployment not in self._origins:
            self._origins[event.deployment] = origin_of(self.connection, event.deployment, self.now)
        return self._window.why_not(event, self._origins[event.deployment], self.now)

    def _is_test(self, event: Event) -> bool:
        """Return True if the event's run only tests a DAG or a task."""
        run_id = str(event.get("run_id") or "")
        if run_id.startswith(TEMPORARY_RUN) or event.get("run_type") == TEST:
            return True
        is_task = isinstance(event.data, TaskInstanceData)
        return is_task and (event.deployment, event.dag_id, run_id) in self._test_runs

    @cached_property
    def _test_runs(self) -> set[tuple[str, str, str]]:
        tasks = [event for event in self._events if isinstance(event.data, TaskInstanceData)]
        return runs.test_runs(self.connection, tasks)

    def silence(self, facts: MatchSubject) -> Silence | None:
        """Return the active silence that covers an event, or None."""
        return silences.first_of(self._silences, facts)

    @cached_property
    def _silences(self) -> list[Silence]:
        return silences.active(self.connection, self.now)

    @cached_property
    def is_restored(self) -> bool:
        """True if notifications may have been sent that a restored database does not know."""
        return already_sent.any_at_all(self.connection)

    def is_unsubscribed(self, rule: Rule, target: Target) -> bool:
        """Return True if a mail target has unsubscribed from the rule."""
        if target.channel is not ChannelName.EMAIL:
            return False
        name = (target.recipient, rule.name)
        if name not in self._unsubscribed:
            self._unsubscribed[name] = silences.is_unsubscribed(self.connection, *name)
        return self._unsubscribed[name]


UNDECIDED = "(all rules)"
UNMATCHED = "(no rule)"
"""The text in place of a rule's name for a failure that no rule takes."""
NOBODY = "nobody was notified, because no rule matches this event: add a rule that does (docs/rules.md)"
MAX_REASON = 1_000  # characters: a database error repeats its whole statement


@dataclass
class DecisionContext:
    """An event on its way through the rules."""

    connection: Connection
    seq: int
    event: Event
    now: datetime
    batch: BatchContext
    facts: MatchSubject
    change: IncidentChange
    why_not: str | None
    """The reason why the event is not reported at all, because it is too old."""
    recovered: set[Target] = field(default_factory=set)
    """The recipients of the recovery, who are not notified of the success as well."""


def build_error_decision(seq: int, event: Event, error: Exception, now: datetime) -> Decision:
    """Return the decision for an event at which the rules failed."""
    reason = f"the rules failed at this event: {type(error).__name__}: {error}"[:MAX_REASON]
    outcome = (decisions.SUPPRESSED, reason, None, None, None)
    return Decision(seq, event.id, event.deployment, event.dag_id, UNDECIDED, *outcome, now)


def build_unmatched_decision(context: DecisionContext) -> Decision:
    """Return the decision for a failure that no rule takes.
    The ledger says that no notification was made, and why."""
    event, incident = context.event, context.change.incident
    outcome = (decisions.SUPPRESSED, NOBODY, incident.id if incident else None, None, None)
    return Decision(context.seq, event.id, event.deployment, event.dag_id, UNMATCHED, *outcome, context.now)


def build_decision(
    context: DecisionContext,
    rule: Rule,
    rule_verdict: RuleVerdict,
    outcome: str = decisions.SUPPRESSED,
    notification_id: int | None = None,
    silence_id: int | None = None,
) -> Decision:
    """Return a rule's decision about an event."""
    incident = context.change.incident
    return Decision(
        event_seq=context.seq,
        event_id=context.event.id,
        deployment=context.event.deployment,
        dag_id=context.event.dag_id,
        rule=rule.name,
        outcome=outcome,
        reason=rule_verdict.reason,
        incident_id=incident.id if incident else None,
        silence_id=silence_id,
        notification_id=notification_id,
        created_at=context.now,
    )
