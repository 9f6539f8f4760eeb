"""The outbox and ledger: what is to be told, to whom, and what became of it. Only this package names its
tables."""

from monitor.outbox.budget import DIGEST, frees_at, parked, sent_since, to_digest
from monitor.outbox.decisions import (
    GROUPED,
    SUPPRESSED,
    TOLD,
    decisions_of_event,
    decisions_of_incident,
    decisions_of_notification,
    event_seqs,
    move,
    note,
    suppressed,
)
from monitor.outbox.kinds import Kind
from monitor.outbox.pages import Wanted, attempts, counts, deliveries, find, waiting
from monitor.outbox.put import About, Word, last_of_group, notification, open_group, put, seal, withdraw
from monitor.outbox.queue import (
    LeaseLost,
    claim,
    claim_some,
    hand_over,
    next_due,
    reap,
    renew,
    requeue,
    settle,
)
from monitor.outbox.record import Attempt, Decision, Delivery, Notification, Outcome
from monitor.outbox.state import ALLOWED, State, TransitionError
from monitor.outbox.thread import Thread, hears, last_told, tells_of, thread

__all__ = [
    "ALLOWED",
    "DIGEST",
    "GROUPED",
    "SUPPRESSED",
    "TOLD",
    "About",
    "Attempt",
    "Decision",
    "Delivery",
    "Kind",
    "LeaseLost",
    "Notification",
    "Outcome",
    "State",
    "Thread",
    "TransitionError",
    "Wanted",
    "Word",
    "attempts",
    "claim",
    "claim_some",
    "counts",
    "decisions_of_event",
    "decisions_of_incident",
    "decisions_of_notification",
    "deliveries",
    "event_seqs",
    "find",
    "frees_at",
    "hand_over",
    "hears",
    "last_of_group",
    "last_told",
    "move",
    "next_due",
    "note",
    "notification",
    "open_group",
    "parked",
    "put",
    "reap",
    "renew",
    "requeue",
    "seal",
    "sent_since",
    "settle",
    "suppressed",
    "tells_of",
    "thread",
    "to_digest",
    "waiting",
    "withdraw",
]
