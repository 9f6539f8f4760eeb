"""The typed data of each event type (docs/events.md, "Types and data")."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from monitor.events.values import Count, Id, Key, Moment, Name, Text, TiId, Uri, Word

NUDGE = "windsock.asset.nudge"
"""A hook's word that an asset was updated: it wakes the reconciler and is not logged."""

OWN = ("windsock.", "airflow.component.")
"""Before the types of what the monitor finds by itself. Nobody else may send them, but for the nudge."""

RUN_STATES = ("running", "success", "failed")
DELETED = "deleted"
"""Of a run that Airflow no longer knows; no state of Airflow's."""
RUN_ENDS = ("airflow.dag_run.success", "airflow.dag_run.failed")
"""The types that report a run's end."""
TASK_STATES = ("running", "success", "failed", "skipped", "up_for_retry", "upstream_failed", "removed")


TEST = "test"
"""The run_type of a run of `airflow dags test`."""

TEMPORARY_RUN = "__airflow_temporary_run_"
"""How the run_id begins that `airflow tasks test` makes for a run that no database holds."""

MAX_CREATED_RUNS = 1_000  # of one asset event: each is a row of the asset's page


class Data(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)  # fields are only ever added
    reported_by: Literal["listener", "reconciler", "monitor"]


class DagRunData(Data):
    dag_id: Key
    run_id: Key
    state: Literal["running", "success", "failed", "deleted"]
    """`deleted`: Airflow no longer knows the run, whatever became of it."""
    run_type: Word | None = None
    """Airflow's word: `manual`, `scheduled`, `backfill`, `asset_triggered`, …; `test`: of `airflow dags
    test`, no production."""
    logical_date: Moment | None = None
    data_interval_start: Moment | None = None
    data_interval_end: Moment | None = None
    run_after: Moment | None = None
    queued_at: Moment | None = None
    start_date: Moment | None = None
    end_date: Moment | None = None
    message: Text | None = None
    partition_key: Key | None = None
    """Of a run that is about one partition (Airflow 3.2 and newer); absent from any other."""


class TaskError(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)
    type: Text | None = None
    message: Text
    traceback: Text | None = None


class TaskInstanceData(Data):
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
    model_config = ConfigDict(extra="allow", frozen=True)
    name: Name
    uri: Uri
    group: Text | None = None


class AliasRef(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)
    name: Name
    group: Text | None = None


class AssetData(Data):
    asset: AssetRef


class CreatedRun(BaseModel):
    """A run that an asset's update began."""

    model_config = ConfigDict(extra="allow", frozen=True)
    dag_id: Key
    run_id: Key


class AssetUpdatedData(AssetData):
    asset_event_id: int
    timestamp: Moment
    extra: dict[str, Any] = Field(default_factory=dict)
    source_dag_id: Key | None = None
    source_run_id: Key | None = None
    source_task_id: Key | None = None
    source_map_index: Count | None = None
    partition_key: Key | None = None
    """Of the partition that was updated (Airflow 3.2 and newer); absent where there is none."""
    created_dagruns: list[CreatedRun] = Field(default_factory=list, max_length=MAX_CREATED_RUNS)


class AliasData(Data):
    alias: AliasRef


class ImportErrorData(Data):
    filename: Name
    bundle_name: Name | None = None
    stacktrace: Text
    error_id: Id | None = None
    """The id of this error when it was reported first; None of a plugin that is older than this field."""


class ImportErrorMendedData(Data):
    filename: Name
    bundle_name: Name | None = None
    error_id: Id
    replaced_by: Id | None = None
    """The error that the file has now instead."""


class DagPauseData(Data):
    dag_id: Key
    state: Literal["paused", "unpaused"]


class BackfillCompletedData(Data):
    dag_id: Key
    backfill_id: int = Field(ge=0)
    from_date: Moment
    to_date: Moment
    created_at: Moment
    completed_at: Moment
    total_runs: int = Field(ge=0)
    """Those that it made, and those that it ran again."""
    failed_runs: int = Field(ge=0)


class WatchData(Data):
    """What a watch found, or what became of the monitor's own work."""

    what: Text
    """One sentence for people."""
    watch: Text | None = None
    """The name of the watch that found it."""
    since: Moment | None = None
    """Since when it is so."""


class RunMissingData(WatchData):
    dag_id: Key
    expected_at: Moment
    """When Airflow's own schedule wanted the run."""
    after_seconds: float
    schedule: Text | None = None


class RunLateData(WatchData):
    dag_id: Key
    run_id: Key
    run_type: Word | None = None
    expected_at: Moment
    queued_at: Moment | None = None
    after_seconds: float


class RunStuckData(WatchData):
    dag_id: Key
    run_id: Key
    run_type: Word | None = None
    start_date: Moment
    running_seconds: float
    after_seconds: float
    """How long is too long."""
    usual_seconds: float | None = None
    """The median of earlier runs; None where the bound is an absolute one."""
    spread_seconds: float | None = None
    runs: int | None = None
    """How many earlier runs that was taken from."""


class AssetWatchData(WatchData):
    asset: AssetRef
    dag_id: Key | None = None
    """stale: the DAG that updated it last; unconsumed: the one that is to consume it."""


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
    """What is over."""
    lasted_seconds: float


class DagAutoPausedData(WatchData):
    dag_id: Key
    failed_runs: int
    """How many of its last runs failed: its max_consecutive_failed_dag_runs."""
    is_certain: bool
    """Whether Airflow's audit log says so; otherwise the monitor's user may not read that."""
    remedy: Text
    """What to do."""


class DagRecoveredData(WatchData):
    dag_id: Key
    lasted_seconds: float


class TroubleData(WatchData):
    error: Text
    after_seconds: float


class TroubleOverData(WatchData):
    lasted_seconds: float


class ComponentData(WatchData):
    component: Word
    """scheduler, triggerer, dag_processor."""


class ComponentUnhealthyData(ComponentData):
    status: Word
    """As Airflow says it."""
    latest_heartbeat: Moment | None = None
    after_seconds: float


class ComponentRecoveredData(ComponentData):
    lasted_seconds: float


class DeliveryTroubleData(WatchData):
    delivery_id: int
    dag_id: Key | None = None
    run_id: Key | None = None
    channel: Word
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


def declared(event_type: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a logged event's data that its type declares, which were checked when it arrived.

    Senders may add others; the log keeps them for subscribers, and nothing in the monitor reads them.
    """
    known = DATA.get(event_type, Data).model_fields
    return {name: value for name, value in data.items() if name in known}
