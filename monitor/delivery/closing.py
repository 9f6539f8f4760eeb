"""How a delivery is settled, in one transaction with everything that follows from it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from monitor import incidents, outbox
from monitor.delivery.budget import ToDigest
from monitor.outbox import Delivery, Outcome


@dataclass(frozen=True)
class Closing:
    """What it came to, and which incidents were none, with the reason."""

    outcome: Outcome | ToDigest
    retracted: tuple[int, ...] = ()
    because: str = ""


def close(connection: Connection, delivery: Delivery, closing: Closing, now: datetime, host: str) -> Outcome:
    """Answers what it was settled with. Raises LeaseLost: then the caller's transaction must be undone.

    `host`: the right side of a digest's Message-ID.
    """
    outcome = closing.outcome
    if isinstance(outcome, ToDigest):
        outcome = outbox.to_digest(connection, delivery, now, outcome.due, host)
    outbox.settle(connection, delivery, outcome, now)
    for incident_id in closing.retracted:
        incidents.retract(connection, incident_id, closing.because, now)
    return outcome
