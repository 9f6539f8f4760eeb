"""The models of the API's answers."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field

from monitor.notifications.outbox.records import NotificationKind, State
from monitor.rules.model import Match
from monitor.rules.targets import ChannelName
from monitor.web import openapi_examples
from monitor.web.responses import ResponseModel, example

Next = Annotated[
    int | None, Field(description="The `cursor` of the page behind this one; null: this is the last page")
]


def _record(*names: str) -> AliasChoices:
    """Return the names of a value: the API's own, and the record's."""
    return AliasChoices(*names)


class DeliveryResponse(ResponseModel):
    """A delivery."""

    model_config = example(**openapi_examples.DELIVERY)
    id: int
    notification_id: int = Field(description="The text that it carries; others may carry the same")
    channel: ChannelName
    recipient: str = Field(description="An address, or `<receiver>#<n>` of the rules file")
    kind: NotificationKind
    incident_id: int | None
    event_seq: int
    event_id: str = Field(description="Of the first event that it reports")
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


class DeliveryPage(ResponseModel):
    """A page of deliveries."""

    model_config = example(deliveries=[openapi_examples.DELIVERY], next=5)
    deliveries: list[DeliveryResponse]
    next: Next


class AttemptResponse(ResponseModel):
    """An attempt at a delivery."""

    model_config = example(**openapi_examples.ATTEMPT)
    at: datetime
    outcome: str = Field(
        description="The state that it led to; `unavailable`: no server was there to take any mail; "
        "`requeued`: a person asked for it again"
    )
    answer: str


class DecisionResponse(ResponseModel):
    """A rule's decision about an event, and the reason."""

    model_config = example(**openapi_examples.DECISION)
    event_seq: int
    event_id: str
    deployment: str
    dag_id: str | None
    rule: str
    outcome: str = Field(
        description="`notified`: has a notification; `grouped`: joined another's; "
        "`suppressed`: without a notification"
    )
    reason: str
    incident_id: int | None
    silence_id: int | None
    notification_id: int | None
    created_at: datetime


class DeliveryDetail(DeliveryResponse):
    """A delivery with its ledger."""

    model_config = example(
        **openapi_examples.DELIVERY,
        ledger=[openapi_examples.ATTEMPT],
        next_attempts=None,
        decisions=[],
        next=None,
    )
    ledger: list[AttemptResponse] = Field(description="The latest attempts, oldest first")
    next_attempts: Next = Field(description="The `attempts_cursor` of those before them; null: these are all")
    decisions: list[DecisionResponse] = Field(
        description="Which events it reports, the latest ones, oldest first, each with its reason"
    )
    next: Next = Field(description="The `cursor` of the decisions before them; null: these are all")


class RuleAndEvent(ResponseModel):
    """A rule's decision about an event at its arrival, and whether the present rule takes the event."""

    model_config = example(**openapi_examples.RULE_AND_EVENT)
    rule: str
    mismatch: str | None = Field(
        description="Why the rule, as it is now, does not take the event; null: it does"
    )
    decisions: list[DecisionResponse]
    deliveries: list[DeliveryResponse]
    has_more_deliveries: bool = Field(
        False, description="More were made of it than one answer holds; listDeliveries has them"
    )


class ExplanationResponse(ResponseModel):
    """An explanation of one Airflow's event."""

    model_config = example(event=openapi_examples.EVENT, rules=[openapi_examples.RULE_AND_EVENT])
    event: dict[str, Any] = Field(description="The CloudEvent")
    rules: list[RuleAndEvent] = Field(description="One for each rule that is in force or was asked then")


class EventDecisions(ResponseModel):
    """The explanations of an event."""

    model_config = example(
        explanations=[{"event": openapi_examples.EVENT, "rules": [openapi_examples.RULE_AND_EVENT]}]
    )
    explanations: list[ExplanationResponse] = Field(
        description="One for each Airflow that reported an event of this id"
    )


class IncidentResponse(ResponseModel):
    """An incident: one fault, from its first failure to its recovery."""

    model_config = example(**openapi_examples.INCIDENT)
    id: int
    deployment: str
    key: str
    dag_id: str | None
    title: str
    state: Literal["open", "closed"] = Field(description="`open`: it goes on; `closed`: it has ended")
    status: Literal["open", "acknowledged", "resolved", "closed"] = Field(
        description="The same as people know it. `resolved`: an event ended it; `closed`: a person closed it"
    )
    failures: int
    opened_at: datetime
    opened_seq: int
    last_at: datetime
    last_seq: int
    closed_at: datetime | None
    closed_seq: int | None
    closed_reason: str | None = Field(validation_alias=_record("closed_reason", "closed_because"))
    closed_by: str | None = Field(
        description="Who closed it by hand, with the reason in `closed_reason`; `Windsock`: it did itself; "
        "null: an event ended it, or it is open"
    )
    flapping: bool
    acknowledged_at: datetime | None = Field(validation_alias=_record("acknowledged_at", "acked_at"))
    acknowledged_by: str | None = Field(validation_alias=_record("acknowledged_by", "acked_by"))
    acknowledged_reason: str | None = Field(validation_alias=_record("acknowledged_reason", "ack_reason"))
    acknowledged_until: datetime | None = Field(
        validation_alias=_record("acknowledged_until", "ack_until"),
        description="When the acknowledgement lapses; null: it lasts until the incident ends",
    )
    assignee: str | None = Field(description="Who has taken it over")
    assigned_at: datetime | None


class IncidentPage(ResponseModel):
    """A page of incidents."""

    model_config = example(incidents=[openapi_examples.INCIDENT], next=None)
    incidents: list[IncidentResponse]
    next: Next


class IncidentDetail(IncidentResponse):
    """An incident with its decisions and deliveries."""

    model_config = example(
        **openapi_examples.INCIDENT,
        decisions=[openapi_examples.DECISION],
        next=None,
        deliveries=[openapi_examples.DELIVERY],
        next_deliveries=None,
    )
    decisions: list[DecisionResponse] = Field(description="The latest ones, oldest first")
    next: Next = Field(description="The `cursor` of the decisions before them; null: these are all")
    deliveries: list[DeliveryResponse]
    next_deliveries: Next = Field(
        description="The `cursor` of its older deliveries in listDeliveries; null: these are all"
    )


def _dump_match(match: Any) -> Any:
    """Return a match as people write it: what it names, and not what it leaves open."""
    return match.model_dump(mode="json", exclude_defaults=True) if isinstance(match, Match) else match


class SilenceResponse(ResponseModel):
    """A silence: what causes no notification for a while, with author and reason."""

    model_config = example(**openapi_examples.SILENCE)
    id: int
    match: Annotated[dict[str, Any], BeforeValidator(_dump_match)] = Field(
        description="As `match` of a rule (docs/rules.md)"
    )
    deployment: str | None
    dag_id: str | None = Field(description="Both null: of more than one DAG, or of none")
    incident_key: str | None = Field(description="Where it is of one incident alone, and of its like")
    incident_title: str | None
    author: str
    reason: str
    created_at: datetime
    starts_at: datetime
    ends_at: datetime
    ended_by: str | None = Field(description="Who ended it early")
    state: Literal["pending", "active", "expired"]


class SilencePage(ResponseModel):
    """A page of silences."""

    model_config = example(silences=[openapi_examples.SILENCE], next=None)
    silences: list[SilenceResponse]
    next: Next


class LoggedEventResponse(ResponseModel):
    """An event of the log."""

    model_config = example(**openapi_examples.LOGGED)
    seq: int
    received_at: datetime
    event: dict[str, Any] = Field(description="The CloudEvent, as docs/events.md describes it")


class EventPage(ResponseModel):
    """A page of the log."""

    model_config = example(events=[openapi_examples.LOGGED], next=7)
    events: list[LoggedEventResponse]
    next: Next


class RunResponse(ResponseModel):
    """A DAG run."""

    model_config = example(**openapi_examples.RUN)
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


class RunPage(ResponseModel):
    """A page of runs."""

    model_config = example(runs=[openapi_examples.RUN], next=7)
    runs: list[RunResponse]
    next: Next


class TaskInstanceResponse(ResponseModel):
    """A task instance."""

    model_config = example(**openapi_examples.TASK)
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


class RunDetail(RunResponse):
    """A run with its tasks and deliveries."""

    model_config = example(
        **openapi_examples.RUN,
        tasks=[openapi_examples.TASK],
        next=None,
        deliveries=[openapi_examples.DELIVERY],
        next_deliveries=None,
    )
    tasks: list[TaskInstanceResponse]
    next: str | None = Field(
        description="The `cursor` of the page of tasks behind this one (getRun); null: these are the last"
    )
    deliveries: list[DeliveryResponse]
    next_deliveries: Next = Field(
        description="The `cursor` of the run's older deliveries in listDeliveries; null: these are all"
    )


class AssetResponse(ResponseModel):
    """An asset."""

    model_config = example(**openapi_examples.ASSET)
    deployment: str
    uri: str
    name: str
    group: str | None
    updates: int | None = Field(description="null: you may not read every DAG, and others may update it too")
    updated_at: datetime | None
    extra: dict[str, Any] | None
    source_dag_id: str | None
    source_run_id: str | None
    source_task_id: str | None
    last_seq: int


class AssetPage(ResponseModel):
    """A page of assets."""

    model_config = example(assets=[openapi_examples.ASSET], next=None)
    assets: list[AssetResponse]
    next: Next
