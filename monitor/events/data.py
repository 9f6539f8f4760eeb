"""The data of each event type, as Pydantic models, with bounds on each value.

Each bound is one that every database can keep, so a value that is accepted never stops a later transaction.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

MAX_ID = 200  # ids are digests and UUIDs behind a short prefix
MAX_NAME = 2000  # subjects: three names
MAX_KEY = 250  # characters, as Airflow's own columns
MAX_URI = 1500  # characters, as Airflow's own column
MAX_TI_ID = 36  # a UUID
MAX_WORD = 50  # characters of a run type
MAX_MESSAGE = 4_000  # characters of an error's message, as the plugin sends. Pages show no more
MAX_TRACE = 16_000  # characters of a traceback, the last ones, which name the error. The plugin sends no more
MAX_LABEL = 250  # characters of a host's name (DNS has 253 at most), an operator's class or a group, on pages
SHOWN_VALUE = 80  # characters of a wrong value that its message repeats
YEARS = range(1900, 9999)  # what every database and zone conversion can carry


def _need_zone(value: Any) -> Any:
    """Refuse a time without a zone: guessing one would change the event's identity."""
    if isinstance(value, str) and value.endswith("Z"):
        return value  # most are: events have half a dozen moments
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value  # the read models' own
    if not isinstance(value, str):
        raise ValueError("is not a text such as 2026-11-22T10:00:00.000000Z")  # noqa: TRY004 (pydantic's way)
    if not re.search(r"(Z|[+-]\d\d:?\d\d)$", value):
        raise ValueError("has no time zone; write UTC with a Z")
    return value


def _storable(value: datetime) -> datetime:
    """Return the moment in UTC, whose year counts: that is what is stored and read again."""
    try:
        moment = value.astimezone(timezone.utc)
        if moment.year in YEARS:
            return moment
    except OverflowError:  # before the calendar's beginning, or after its end
        pass
    raise ValueError(f"is not within the years {YEARS.start} to {YEARS.stop - 1}")


def is_storable(text: str) -> bool:
    """Return True if every database takes it: no NUL, and no half of a surrogate pair."""
    return "\0" not in text and text.encode("utf-8", "replace").decode() == text


def storable(text: str) -> str:
    """Return a text that people wrote in the form that every database stores."""
    return _replace_nul(text.encode("utf-8", "replace").decode())


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a NUL character")
    return value


def _replace_nul(value: str) -> str:
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}")


Moment = Annotated[datetime, BeforeValidator(_need_zone), AfterValidator(_storable)]
_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)
MOMENT: TypeAdapter[datetime | None] = TypeAdapter(Moment | None)
"""Reads what should be a moment, or null. Raises ValidationError, which is a ValueError."""


def moment_from(value: object) -> datetime:
    """Return a moment that another program wrote, in UTC.
    Raises ValueError if it is no moment, names no time zone, or is not within YEARS. Arithmetic with an
    accepted moment stays within the calendar."""
    try:
        return _MOMENT.validate_python(value)
    except ValidationError as error:
        why = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise ValueError(f"{str(value)[:SHOWN_VALUE]!r} is no moment: {why}") from None


_NoNul = AfterValidator(_no_nul)
Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID), _NoNul]
TiId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TI_ID), _NoNul]
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME), _NoNul]
Key = Annotated[str, StringConstraints(min_length=1, max_length=MAX_KEY), _NoNul]
"""The name of a DAG, a run or a task."""
Uri = Annotated[str, StringConstraints(min_length=1, max_length=MAX_URI), _NoNul]
Text = Annotated[str, AfterValidator(_replace_nul)]
"""A text for people. PostgreSQL keeps no NUL, and an error's text is worth more than its NUL."""
MAX_COUNT = 2**31 - 1
Count = Annotated[int, Field(ge=-1, le=MAX_COUNT)]
"""A number that fits an INTEGER column. -1 is Airflow's "not mapped"."""
ShortText = Annotated[Text, StringConstraints(max_length=MAX_WORD)]

NUDGE = "windsock.asset.nudge"
"""A hook's word that an asset was updated: it wakes the reconciler and is not logged."""

OWN = ("windsock.", "airflow.component.")
"""The beginnings of the types that the monitor itself finds. No sender may send such events, except the
nudge."""

RUN_STATES = ("running", "success", "failed")
DELETED = "deleted"
"""The state of a run that Airflow no longer knows. Airflow has no such state."""
RUN_ENDS = ("airflow.dag_run.success", "airflow.dag_run.failed")
"""The types that report a run's end."""
TASK_STATES = ("running", "success", "failed", "skipped", "up_for_retry", "upstream_failed", "removed")


TEST = "test"
"""The run_type of a run of `airflow dags test`."""

TEMPORARY_RUN = "__airflow_temporary_run_"
"""The beginning of the run_id that `airflow tasks test` makes for a run that no database holds."""

MAX_CREATED_RUNS = 1_000  # of one asset event: each is a row of the asset's page


class Data(BaseModel):
    """The data of an event. Its fields are only ever added."""

    model_config = ConfigDict(extra="allow", frozen=True)  # fields are only ever added
    reported_by: Literal["listener", "reconciler", "monitor"]


class DagRunData(Data):
    """The data of a DAG run's state change."""

    dag_id: Key
    run_id: Key
    state: Literal["running", "success", "failed", "deleted"]
    """`deleted`: Airflow no longer knows the run, whatever became of it."""
    run_type: ShortText | None = None
    """Airflow's own type: `manual`, `scheduled`, `backfill`, `asset_triggered`, …. `test` marks a run of
    `airflow dags test`, which is no production."""
    logical_date: Moment | None = None
    data_interval_start: Moment | None = None
    data_interval_end: Moment | None = None
    run_after: Moment | None = None
    queued_at: Moment | None = None
    start_date: Moment | None = None
    end_date: Moment | None = None
    message: Text | None = None
    partition_key: Key | None = None
    """The partition that the run is about (Airflow 3.2 and newer). Absent from any other run."""


class TaskError(BaseModel):
    """The error of a failed task."""

    model_config = ConfigDict(extra="allow", frozen=True)
    type: Text | None = None
    message: Text
    traceback: Text | None = None


class TaskInstanceData(Data):
    """The data of a task's state change."""

    dag_id: Key
    run_id: Key
    task_id: Key
    ti_id: TiId | None
    """None: an earlier try that Airflow has filed, whose UUID REST does not show."""
    map_index: Count = -1
    try_number: Count
    max_tries: Count = 0
    state: Literal["running", "success", "failed", "skipped", "up_for_retry", "upstream_failed", "removed"]
    start_date: Moment | None = None
    end_date: Moment | None = None
    operator: Text | None = None
    hostname: Text | None = None
    error: TaskError | None = None


class AssetRef(BaseModel):
    """The name of an asset."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: Name
    uri: Uri
    group: Text | None = None


class AliasRef(BaseModel):
    """The name of an asset alias."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: Name
    group: Text | None = None


class AssetData(Data):
    """The data of an event about an asset."""

    asset: AssetRef


class CreatedRun(BaseModel):
    """A run that an asset's update began."""

    model_config = ConfigDict(extra="allow", frozen=True)
    dag_id: Key
    run_id: Key


class AssetUpdatedData(AssetData):
    """The data of an asset's update."""

    asset_event_id: int
    timestamp: Moment
    extra: dict[str, Any] = Field(default_factory=dict)
    source_dag_id: Key | None = None
    source_run_id: Key | None = None
    source_task_id: Key | None = None
    source_map_index: Count | None = None
    partition_key: Key | None = None
    """The partition that was updated (Airflow 3.2 and newer). Absent without a partition."""
    created_dagruns: list[CreatedRun] = Field(default_factory=list, max_length=MAX_CREATED_RUNS)


class AliasData(Data):
    """The data of an event about an asset alias."""

    alias: AliasRef


class ImportErrorData(Data):
    """The data of an import error of a DAG file."""

    filename: Name
    bundle_name: Name | None = None
    stacktrace: Text
    error_id: Id | None = None
    """The id of this error's first report. None from a plugin that is older than this field."""


class ImportErrorMendedData(Data):
    """The data of the end of an import error."""

    filename: Name
    bundle_name: Name | None = None
    error_id: Id
    replaced_by: Id | None = None
    """The error that the file has now instead."""


class DagPauseData(Data):
    """The data of a DAG that was paused or unpaused."""

    dag_id: Key
    state: Literal["paused", "unpaused"]


class BackfillCompletedData(Data):
    """The data of a backfill that is completed."""

    dag_id: Key
    backfill_id: int = Field(ge=0)
    from_date: Moment
    to_date: Moment
    created_at: Moment
    completed_at: Moment
    total_runs: int = Field(ge=0)
    """The runs that the backfill made or ran again."""
    failed_runs: int = Field(ge=0)


class WatchData(Data):
    """The data of a watch's finding, or of trouble in the monitor's own work."""

    what: Text
    """The finding in one sentence for people."""
    watch: Text | None = None
    """The name of the watch that found it."""
    since: Moment | None = None
    """The moment since which the finding holds."""


class RunMissingData(WatchData):
    dag_id: Key
    expected_at: Moment
    """The moment at which Airflow's own schedule wanted the run."""
    after_seconds: float
    schedule: Text | None = None


class RunLateData(WatchData):
    dag_id: Key
    run_id: Key
    run_type: ShortText | None = None
    expected_at: Moment
    queued_at: Moment | None = None
    after_seconds: float


class RunStuckData(WatchData):
    dag_id: Key
    run_id: Key
    run_type: ShortText | None = None
    start_date: Moment
    running_seconds: float
    after_seconds: float
    """The bound above which a run is too long."""
    usual_seconds: float | None = None
    """The median of earlier runs. None if the bound is an absolute one."""
    spread_seconds: float | None = None
    runs: int | None = None
    """The number of earlier runs behind the median."""


class AssetWatchData(WatchData):
    asset: AssetRef
    dag_id: Key | None = None
    """For stale: the DAG that updated the asset last. For unconsumed: the DAG that is to consume it."""


class AssetStaleData(AssetWatchData):
    updated_at: Moment
    after_seconds: float
    usual_seconds: float | None = None
    spread_seconds: float | None = None
    intervals: int | None = None


class AssetUnconsumedData(AssetWatchData):
    asset_event_id: int
    updated_at: Moment
    after_seconds: float


class AssetRecoveredData(AssetWatchData):
    ended: Literal["windsock.asset.stale", "windsock.asset.unconsumed"]
    """The type of the finding that is over."""
    lasted_seconds: float


class DagAutoPausedData(WatchData):
    dag_id: Key
    failed_runs: int
    """The number of its last runs that failed, which is its max_consecutive_failed_dag_runs."""
    is_certain: bool
    """True if Airflow's audit log says so. Otherwise the monitor's user may not read the audit log."""
    remedy: Text
    """The remedy in one sentence."""


class DagRecoveredData(WatchData):
    dag_id: Key
    lasted_seconds: float


class TroubleData(WatchData):
    error: Text
    after_seconds: float


class TroubleOverData(WatchData):
    lasted_seconds: float


class ComponentData(WatchData):
    component: ShortText
    """scheduler, triggerer, dag_processor."""


class ComponentUnhealthyData(ComponentData):
    status: ShortText
    """The status as Airflow reports it."""
    latest_heartbeat: Moment | None = None
    after_seconds: float


class ComponentRecoveredData(ComponentData):
    lasted_seconds: float


class DeliveryTroubleData(WatchData):
    delivery_id: int
    dag_id: Key | None = None
    run_id: Key | None = None
    channel: ShortText
    rule: Text
    reason: Text


DATA: dict[str, type[Data]] = {
    **{f"airflow.dag_run.{state}": DagRunData for state in (*RUN_STATES, DELETED)},
    **{f"airflow.task_instance.{state}": TaskInstanceData for state in TASK_STATES},
    "airflow.asset.updated": AssetUpdatedData,
    "airflow.asset.created": AssetData,
    "airflow.asset_alias.created": AliasData,
    "airflow.dag.import_error": ImportErrorData,
    "airflow.dag.import_error_mended": ImportErrorMendedData,
    "airflow.dag.paused": DagPauseData,
    "airflow.dag.unpaused": DagPauseData,
    "airflow.backfill.completed": BackfillCompletedData,
    "windsock.run.missing": RunMissingData,
    "windsock.run.late": RunLateData,
    "windsock.run.stuck": RunStuckData,
    "windsock.dag.auto_paused": DagAutoPausedData,
    "windsock.dag.recovered": DagRecoveredData,
    "windsock.asset.stale": AssetStaleData,
    "windsock.asset.unconsumed": AssetUnconsumedData,
    "windsock.asset.recovered": AssetRecoveredData,
    "windsock.airflow.unreachable": TroubleData,
    "windsock.airflow.recovered": TroubleOverData,
    "airflow.component.unhealthy": ComponentUnhealthyData,
    "airflow.component.recovered": ComponentRecoveredData,
    "windsock.mail.failing": TroubleData,
    "windsock.mail.recovered": TroubleOverData,
    "windsock.delivery.dead": DeliveryTroubleData,
    "windsock.delivery.parked": DeliveryTroubleData,
    NUDGE: AssetData,
}
"""Every type that the monitor takes, and the shape of its data."""


def select_declared(event_type: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a logged event's data that its type declares.
    They were checked when the event arrived.

    Senders may add other fields. The log keeps them for subscribers, and nothing in the monitor reads them.
    """
    fields = DATA.get(event_type, Data).model_fields
    return {name: value for name, value in data.items() if name in fields}
