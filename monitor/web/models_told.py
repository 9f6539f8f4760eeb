"""The shapes of what the API answers of deliveries, decisions, incidents, silences, as OpenAPI tells them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from monitor.outbox import Kind, State
from monitor.rules import Channel, Match
from monitor.web.answers import Answer, example


class Delivery(Answer):
    id: int
    notification_id: int = Field(description="The text that it carries; others may carry the same")
    channel: Channel
    recipient: str = Field(description="An address, or `<receiver>#<n>` of the rules file")
    kind: Kind
    incident_id: int | None
    event_seq: int
    event_id: str = Field(description="Of the first event that it tells of")
    deployment: str
    dag_id: str | None
    run_id: str | None
    rule: str
    template: str
    recipients: list[str]
    state: State
    reason: str
    subject: str | None
    message_id: str
    attempts: int
    created_at: datetime
    next_attempt_at: datetime
    settled_at: datetime | None


class DeliveryPage(Answer):
    deliveries: list[Delivery]
    next: int | None


class Attempt(Answer):
    at: datetime
    outcome: str
    answer: str


class Decision(Answer):
    """What one rule made of one event, and why."""

    model_config = example(
        event_seq=7,
        event_id="run:3f1c…:failed",
        deployment="local",
        dag_id="etl",
        rule="failures",
        outcome="suppressed",
        reason="suppressed by silence 3 of alice until 2026-11-23 08:00 UTC: the source is down",
        incident_id=4,
        silence_id=3,
        notification_id=None,
        created_at="2026-11-22T10:00:10Z",
    )
    event_seq: int
    event_id: str
    deployment: str
    dag_id: str | None
    rule: str
    outcome: str = Field(
        description="`told`: has a notification; `grouped`: joined another's; `suppressed`: nobody is told"
    )
    reason: str
    incident_id: int | None
    silence_id: int | None
    notification_id: int | None
    created_at: datetime


class DeliveryDetail(Delivery):
    ledger: list[Attempt]
    decisions: list[Decision] = Field(
        description="Which events it tells of, oldest first, each with its reason"
    )


class RuleAndEvent(Answer):
    """What one rule made of an event when it came, and whether the rule, as it is now, takes it."""

    rule: str
    mismatch: str | None = Field(
        description="Why the rule, as it is now, does not take the event; null: it does"
    )
    decisions: list[Decision]
    deliveries: list[Delivery]


class Explanation(Answer):
    event: dict[str, Any] = Field(description="The CloudEvent")
    lines: list[RuleAndEvent]


class EventDecisions(Answer):
    explanations: list[Explanation] = Field(description="One for each Airflow that told an event of this id")


class Incident(Answer):
    """One thing that is wrong, or was: from its first failure to its recovery."""

    model_config = example(
        id=4,
        deployment="local",
        key="dag:etl",
        dag_id="etl",
        title="etl fails",
        state="open",
        failures=3,
        opened_at="2026-11-22T10:00:10Z",
        opened_seq=7,
        last_at="2026-11-22T12:00:10Z",
        last_seq=31,
        closed_at=None,
        closed_seq=None,
        closed_because=None,
        flapping=False,
        acked_at="2026-11-22T10:12:00Z",
        acked_by="alice",
        ack_reason="the source is down, a ticket is open",
    )
    id: int
    deployment: str
    key: str
    dag_id: str | None
    title: str
    state: Literal["open", "closed"]
    failures: int
    opened_at: datetime
    opened_seq: int
    last_at: datetime
    last_seq: int
    closed_at: datetime | None
    closed_seq: int | None
    closed_because: str | None
    flapping: bool
    acked_at: datetime | None
    acked_by: str | None
    ack_reason: str | None


class IncidentPage(Answer):
    incidents: list[Incident]
    next: int | None


class IncidentDetail(Incident):
    decisions: list[Decision]
    deliveries: list[Delivery]


def _written(match: Any) -> Any:
    """A match as people write it: what it names, and not what it leaves open."""
    return match.model_dump(mode="json", exclude_defaults=True) if isinstance(match, Match) else match


class Silence(Answer):
    """What nobody is told for a while, by whom and why."""

    model_config = example(
        id=3,
        match={"deployment": ["local"], "dag_id": ["etl"]},
        deployment="local",
        dag_id="etl",
        author="alice",
        reason="the source is down",
        created_at="2026-11-22T10:15:00Z",
        starts_at="2026-11-22T10:15:00Z",
        ends_at="2026-11-23T08:00:00Z",
        ended_by=None,
        state="active",
    )
    id: int
    match: Annotated[dict[str, Any], BeforeValidator(_written)] = Field(
        description="As `match` of a rule (docs/rules.md)"
    )
    deployment: str | None
    dag_id: str | None = Field(description="Both null: of more than one DAG")
    author: str
    reason: str
    created_at: datetime
    starts_at: datetime
    ends_at: datetime
    ended_by: str | None = Field(description="Who ended it early")
    state: Literal["pending", "active", "expired"]


class SilencePage(Answer):
    silences: list[Silence]
    next: int | None
