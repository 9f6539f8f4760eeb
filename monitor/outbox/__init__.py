"""The outbox and ledger: one row a mail, from the decision to its end. Only this package names its tables."""

from monitor.outbox.pages import attempts, counts, deliveries, find, waiting
from monitor.outbox.put import put
from monitor.outbox.queue import LeaseLost, claim, hand_over, next_due, reap, renew, requeue, settle
from monitor.outbox.record import Attempt, Delivery, Outcome
from monitor.outbox.state import ALLOWED, State, TransitionError

__all__ = [
    "ALLOWED",
    "Attempt",
    "Delivery",
    "LeaseLost",
    "Outcome",
    "State",
    "TransitionError",
    "attempts",
    "claim",
    "counts",
    "deliveries",
    "find",
    "hand_over",
    "next_due",
    "put",
    "reap",
    "renew",
    "requeue",
    "settle",
    "waiting",
]
