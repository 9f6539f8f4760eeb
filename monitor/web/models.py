"""The shapes of the API's answers, as OpenAPI tells them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.config import JsonDict

from monitor.outbox import Kind, State
from monitor.rules import Channel, Match


class _Answer(BaseModel):
    model_config = ConfigDict(from_attributes=True)


def _example(**values: Any) -> ConfigDict:
    example: JsonDict = {"examples": [values]}
    return ConfigDict(from_attributes=True, json_schema_extra=example)


class Problem(_Answer):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str


class LoggedEvent(_Answer):
    seq: int
    received_at: datetime
    event: dict[str, Any] = Field(description="The CloudEvent, as docs/events.md describes it")


class EventPage(_Answer):
    events: list[LoggedEvent]
    next: int | None = Field(description="The `cursor` of the page behind this one; null: this is the last")


class Run(_Answer):
    deployment: str
    dag_id: str
    run_id: str
    state: str
    run_type: str | None
    logical_date: datetime | None
    queued_at: datetime | None
    start_date: datetime | None
    end_date: datetime | None
    message: str | None
    last_seq: int


class RunPage(_Answer):
    runs: list[Run]
    next: int | None


class Task(_Answer):
    task_id: str
    map_index: int
    ti_id: str
    try_number: int
    max_tries: int
    state: str
    operator: str | None
    hostname: str | None
    start_date: datetime | None
    end_date: datetime | None
    error: dict[str, Any] | None


class Delivery(_Answer):
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


class DeliveryPage(_Answer):
    deliveries: list[Delivery]
    next: int | None


class Attempt(_Answer):
    at: datetime
    outcome: str
    answer: str


class Decision(_Answer):
    """What one rule made of one event, and why."""

    model_config = _example(
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


class RuleAndEvent(_Answer):
    """What one rule made of an event when it came, and whether the rule, as it is now, takes it."""

    rule: str
    mismatch: str | None = Field(
        description="Why the rule, as it is now, does not take the event; null: it does"
    )
    decisions: list[Decision]
    deliveries: list[Delivery]


class Explanation(_Answer):
    event: dict[str, Any] = Field(description="The CloudEvent")
    lines: list[RuleAndEvent]


class EventDecisions(_Answer):
    explanations: list[Explanation] = Field(description="One for each Airflow that told an event of this id")


class Incident(_Answer):
    """One thing that is wrong, or was: from its first failure to its recovery."""

    model_config = _example(
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


class IncidentPage(_Answer):
    incidents: list[Incident]
    next: int | None


class IncidentDetail(Incident):
    decisions: list[Decision]
    deliveries: list[Delivery]


def _written(match: Any) -> Any:
    """A match as people write it: what it names, and not what it leaves open."""
    return match.model_dump(mode="json", exclude_defaults=True) if isinstance(match, Match) else match


class Silence(_Answer):
    """What nobody is told for a while, by whom and why."""

    model_config = _example(
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


class SilencePage(_Answer):
    silences: list[Silence]
    next: int | None


class RunDetail(Run):
    tasks: list[Task]
    deliveries: list[Delivery]


class Asset(_Answer):
    deployment: str
    uri: str
    name: str
    group: str | None
    updates: int
    updated_at: datetime | None
    extra: dict[str, Any] | None
    source_dag_id: str | None
    source_run_id: str | None
    source_task_id: str | None
    last_seq: int


class AssetPage(_Answer):
    assets: list[Asset]
    next: int | None


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": text,
        "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
    }
    for status, text in {
        401: "Nobody is signed in, and no valid bearer token was sent",
        422: "A parameter is wrong; the detail names it",
        503: "Airflow cannot be asked what the reader may see",
    }.items()
}
"""What every endpoint that wants a reader can answer, for OpenAPI."""
