"""One event on its way through the rules, and the decision that each of them comes to."""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from monitor import outbox
from monitor.events import Event
from monitor.incidents import Change
from monitor.notify.known import Known
from monitor.notify.verdict import Verdict
from monitor.outbox import Decision
from monitor.rules import Facts, Target
from monitor.rules.model import Rule

UNDECIDED = "(all rules)"
UNMATCHED = "(no rule)"
"""In the place of a rule's name: of a failure that no rule takes."""
NOBODY = "nobody was notified, because no rule matches this event: add a rule that does (docs/rules.md)"
MAX_REASON = 1_000  # characters: a database error repeats its whole statement


@dataclass
class Case:
    """One event on its way through the rules."""

    connection: Connection
    seq: int
    event: Event
    now: datetime
    known: Known
    facts: Facts
    change: Change
    why_not: str | None
    """Why nobody is told of it at all: it is of the past."""
    recovered: set[Target] = field(default_factory=set)
    """Who is told that it is well again: not told of the success besides."""


def undecided(seq: int, event: Event, error: Exception, now: datetime) -> Decision:
    reason = f"the rules failed at this event: {type(error).__name__}: {error}"[:MAX_REASON]
    said = (outbox.SUPPRESSED, reason, None, None, None)
    return Decision(seq, event.id, event.deployment, event.dag_id, UNDECIDED, *said, now)


def unmatched(case: Case) -> Decision:
    """Of a failure that no rule takes: the ledger says that nobody was notified, and why."""
    event, incident = case.event, case.change.incident
    said = (outbox.SUPPRESSED, NOBODY, incident.id if incident else None, None, None)
    return Decision(case.seq, event.id, event.deployment, event.dag_id, UNMATCHED, *said, case.now)


def decision(
    case: Case,
    rule: Rule,
    said: Verdict,
    outcome: str = outbox.SUPPRESSED,
    notification_id: int | None = None,
    silence_id: int | None = None,
) -> Decision:
    incident = case.change.incident
    return Decision(
        event_seq=case.seq,
        event_id=case.event.id,
        deployment=case.event.deployment,
        dag_id=case.event.dag_id,
        rule=rule.name,
        outcome=outcome,
        reason=said.reason,
        incident_id=incident.id if incident else None,
        silence_id=silence_id,
        notification_id=notification_id,
        created_at=case.now,
    )
