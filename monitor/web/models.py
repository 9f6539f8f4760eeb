"""The shapes of the API's answers, as OpenAPI tells them."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from monitor.outbox import State


class _Answer(BaseModel):
    model_config = ConfigDict(from_attributes=True)


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
    event_seq: int
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


class DeliveryDetail(Delivery):
    ledger: list[Attempt]


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
