"""A notification, a delivery of it, an attempt, what came of one, and what a rule decided: frozen, each made
from a row in one place."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from monitor.outbox.kinds import Kind
from monitor.outbox.state import State
from monitor.rules.targets import Channel


@dataclass(frozen=True)
class Notification:
    """One text, about one event or several that were grouped, by one rule."""

    id: int
    rule: str
    kind: Kind
    template: str
    group_key: str
    incident_id: int | None
    deployment: str
    created_at: datetime
    due_at: datetime
    sealed_at: datetime | None
    """When the first of its deliveries was claimed: nothing joins it any more."""
    gathered_into: int | None = None
    """Of a follow-up: the recovered that tells it instead."""

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> "Notification":
        return cls(**{**row, "kind": Kind(row["kind"])})


@dataclass(frozen=True)
class Delivery:
    """One notification on its way to one recipient, as its row stands."""

    id: int
    notification_id: int
    channel: Channel
    recipient: str
    kind: Kind
    incident_id: int | None
    event_seq: int
    """Of the first event that it reports."""
    event_id: str
    deployment: str
    dag_id: str | None
    run_id: str | None
    rule: str
    template: str
    recipients: tuple[str, ...]
    """The recipient, as a list of one."""
    remaining: tuple[str, ...]
    """The same until it is taken; empty then."""
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
    def of(cls, row: Mapping[Any, Any]) -> "Delivery":
        recipients = tuple(row["recipients"])
        remaining = recipients if row["remaining"] is None else tuple(row["remaining"])
        read = {
            "recipients": recipients,
            "remaining": remaining,
            "state": State(row["state"]),
            "channel": Channel(row["channel"]),
            "kind": Kind(row["kind"]),
        }
        return cls(**{**row, **read})


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
    unavailable: bool = False
    """Whether it was the server that took nothing, of nobody."""


@dataclass(frozen=True)
class Decision:
    """What one rule made of one event, and why."""

    event_seq: int
    event_id: str
    deployment: str
    dag_id: str | None
    rule: str
    outcome: str
    """notified: it has a notification; grouped: it joined another's; suppressed: nobody is notified."""
    reason: str
    incident_id: int | None
    silence_id: int | None
    notification_id: int | None
    created_at: datetime
