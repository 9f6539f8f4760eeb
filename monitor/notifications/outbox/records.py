"""The records of the outbox: notifications, deliveries, attempts, outcomes and decisions.

Each record is frozen, and each is made from its row in one place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from monitor.errors import WindsockError
from monitor.rules.targets import ChannelName


class State(str, Enum):
    """The state of a delivery (DESIGN: `claim → confirm → render → send → settle`)."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    PARKED = "parked"
    DEAD = "dead"
    UNCERTAIN = "uncertain"
    SUPPRESSED = "suppressed"
    SUPERSEDED = "superseded"


ALLOWED: Mapping[State, frozenset[State]] = {
    State.PENDING: frozenset({State.SENDING, State.PENDING}),  # to itself: a person asks for it now
    State.PARKED: frozenset({State.SENDING, State.PENDING}),
    State.SENDING: frozenset(set(State) - {State.SENDING}),
    # Every end can be taken up again, by a person (`requeue`), and in no other way.
    State.SENT: frozenset({State.PENDING}),
    State.DEAD: frozenset({State.PENDING}),
    State.UNCERTAIN: frozenset({State.PENDING}),
    State.SUPPRESSED: frozenset({State.PENDING}),
    State.SUPERSEDED: frozenset({State.PENDING}),
}

WAITING = (State.PENDING, State.PARKED)
"""The states from which a delivery is claimed once its next attempt is due."""


class TransitionError(WindsockError):
    """A delivery cannot go from the state that it is in to the one that was asked for."""


def check(old: State, new: State) -> None:
    """Raise TransitionError unless the new state may follow the old one."""
    if new not in ALLOWED[old]:
        raise TransitionError(f"a delivery that is {old.value} cannot become {new.value}")


class NotificationKind(str, Enum):
    """The kinds of notifications."""

    OPENED = "opened"
    FAILURE = "failure"
    FOLLOW_UP = "follow_up"
    REMINDER = "reminder"
    FLAPPING = "flapping"
    RECOVERED = "recovered"
    SUCCESS = "success"
    NOTICE = "notice"
    DIGEST = "digest"

    @property
    def is_urgent(self) -> bool:
        """True if the kind may use the reserve of the daily budget."""
        return self not in (NotificationKind.SUCCESS, NotificationKind.NOTICE, NotificationKind.DIGEST)


TEMPLATES = (
    "run_failed",
    "run_failed_again",
    "recovered",
    "flapping",
    "run_success",
    "task_failed",
    "import_error",
    "asset_updated",
    "watch",
    "notice",
    "digest",
)
"""Every template that comes with Windsock."""


@dataclass(frozen=True)
class Notification:
    """A notification: a rule's text about one event, or about several that were grouped."""

    id: int
    rule: str
    kind: NotificationKind
    template: str
    group_key: str
    incident_id: int | None
    deployment: str
    created_at: datetime
    due_at: datetime
    sealed_at: datetime | None
    """The moment at which the first of its deliveries was claimed. Nothing joins the notification from then
    on."""
    gathered_into: int | None = None
    """The recovery that reports this follow-up instead."""

    @classmethod
    def from_row(cls, row: Mapping[Any, Any]) -> "Notification":
        """Return the notification of a row."""
        return cls(**{**row, "kind": NotificationKind(row["kind"])})


@dataclass(frozen=True)
class Delivery:
    """A delivery: a notification on its way to one recipient, as its row stands."""

    id: int
    notification_id: int
    channel: ChannelName
    recipient: str
    kind: NotificationKind
    incident_id: int | None
    event_seq: int
    """The seq of the first event that it reports."""
    event_id: str
    deployment: str
    dag_id: str | None
    run_id: str | None
    rule: str
    template: str
    recipients: tuple[str, ...]
    """The recipient, as a list of one."""
    remaining: tuple[str, ...]
    """The recipients that still lack it. Empty once it is taken."""
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
    def from_row(cls, row: Mapping[Any, Any]) -> "Delivery":
        """Return the delivery of a row. Raises ValueError for a value that this release does not know."""
        recipients = tuple(row["recipients"])
        if not recipients:
            raise ValueError("recipients: there are none")
        remaining = recipients if row["remaining"] is None else tuple(row["remaining"])
        read = {
            "recipients": recipients,
            "remaining": remaining,
            "state": State(row["state"]),
            "channel": ChannelName(row["channel"]),
            "kind": NotificationKind(row["kind"]),
        }
        return cls(**{**row, **read})


@dataclass(frozen=True)
class AttemptRecord:
    """A line of the ledger: what was tried, and the outcome in the server's words."""

    at: datetime
    outcome: str
    answer: str


@dataclass(frozen=True)
class DeliveryOutcome:
    """The outcome of a delivery. The reason is for people."""

    state: State
    reason: str
    next_attempt_at: datetime | None = None
    """The moment of the next look, if the state is one that waits."""
    answer: str | None = None
    """The mail server's reply. None if the server was not contacted, and then the ledger gets no line."""
    remaining: tuple[str, ...] | None = None
    """The recipients that still lack it. None means: as before."""
    unavailable: bool = False
    """True if the server took nothing from any sender."""


@dataclass(frozen=True)
class Decision:
    """A rule's decision about an event, and the reason."""

    event_seq: int
    event_id: str
    deployment: str
    dag_id: str | None
    rule: str
    outcome: str
    """notified: it has a notification. grouped: it joined another's. suppressed: no notification."""
    reason: str
    incident_id: int | None
    silence_id: int | None
    notification_id: int | None
    created_at: datetime
