"""The shapes of what the API answers of events, runs and assets, as OpenAPI tells them."""

from datetime import datetime
from typing import Any

from pydantic import Field

from monitor.web.answers import Answer
from monitor.web.models_told import Delivery


class LoggedEvent(Answer):
    seq: int
    received_at: datetime
    event: dict[str, Any] = Field(description="The CloudEvent, as docs/events.md describes it")


class EventPage(Answer):
    events: list[LoggedEvent]
    next: int | None = Field(description="The `cursor` of the page behind this one; null: this is the last")


class Run(Answer):
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


class RunPage(Answer):
    runs: list[Run]
    next: int | None


class Task(Answer):
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


class RunDetail(Run):
    tasks: list[Task]
    deliveries: list[Delivery]


class Asset(Answer):
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


class AssetPage(Answer):
    assets: list[Asset]
    next: int | None
