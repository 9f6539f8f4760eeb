"""The shapes of what the API answers of events, runs and assets, as OpenAPI tells them."""

from datetime import datetime
from typing import Any

from pydantic import Field

from monitor.web import examples
from monitor.web.answers import Answer, example
from monitor.web.models_told import Delivery, Next


class LoggedEvent(Answer):
    model_config = example(**examples.LOGGED)
    seq: int
    received_at: datetime
    event: dict[str, Any] = Field(description="The CloudEvent, as docs/events.md describes it")


class EventPage(Answer):
    model_config = example(events=[examples.LOGGED], next=7)
    events: list[LoggedEvent]
    next: Next


class Run(Answer):
    model_config = example(**examples.RUN)
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
    model_config = example(runs=[examples.RUN], next=7)
    runs: list[Run]
    next: Next


class Task(Answer):
    model_config = example(**examples.TASK)
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
    model_config = example(**examples.RUN, tasks=[examples.TASK], deliveries=[examples.DELIVERY])
    tasks: list[Task]
    deliveries: list[Delivery]


class Asset(Answer):
    model_config = example(**examples.ASSET)
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


class AssetPage(Answer):
    model_config = example(assets=[examples.ASSET], next=None)
    assets: list[Asset]
    next: Next
