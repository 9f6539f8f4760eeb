"""A delivery, an attempt at it, and what came of one: frozen, each made from a row in one place."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import RowMapping

from monitor.outbox.state import State


@dataclass(frozen=True)
class Delivery:
    """One mail, as its row stands."""

    id: int
    event_seq: int
    event_id: str
    deployment: str
    dag_id: str | None
    run_id: str | None
    rule: str
    template: str
    recipients: tuple[str, ...]
    remaining: tuple[str, ...]
    """Those whom no server has accepted it for yet; empty once everyone has it."""
    state: State
    reason: str
    subject: str | None
    message_id: str
    attempts: int
    created_at: datetime
    next_attempt_at: datetime
    claim: str | None
    lease_until: datetime | None
    handed_at: datetime | None
    settled_at: datetime | None

    @classmethod
    def of(cls, row: RowMapping) -> "Delivery":
        recipients = tuple(row["recipients"])
        remaining = recipients if row["remaining"] is None else tuple(row["remaining"])
        fields = {**row, "recipients": recipients, "remaining": remaining, "state": State(row["state"])}
        return cls(**fields)


@dataclass(frozen=True)
class Attempt:
    """One line of the ledger: what was tried, what came of it, in the server's words."""

    at: datetime
    outcome: str
    answer: str


@dataclass(frozen=True)
class Outcome:
    """What a delivery comes to; the reason is for people."""

    state: State
    reason: str
    next_attempt_at: datetime | None = None
    """When to look again, where the state is one that waits."""
    answer: str | None = None
    """The mail server's words; None where it was not spoken to, and then the ledger gets no line."""
    remaining: tuple[str, ...] | None = None
    """Who still lacks it; None: as before."""
