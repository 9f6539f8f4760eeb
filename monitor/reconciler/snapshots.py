"""What Airflow tells no listener of and dates nowhere: it is compared as it stands now, every so often."""

from datetime import timedelta
from typing import Protocol

from monitor.airflow_api import AirflowApi
from monitor.clock import Clock
from monitor.database import Database
from monitor.ingest import Ingest
from monitor.metrics import Metrics
from monitor.reconciler.backfills import Backfills
from monitor.reconciler.deletions import Deletions
from monitor.reconciler.import_errors import ImportErrors
from monitor.reconciler.pauses import Pauses


class Snapshot(Protocol):
    """One listing of what there is, compared with what the log said last."""

    name: str
    every: timedelta

    async def is_wanted(self) -> bool:
        """Whether it is to be compared at once, before its time. Raises SQLAlchemyError."""
        ...

    async def compare(self) -> None:
        """Tell what changed. Raises AirflowError, IngestBusy, SQLAlchemyError."""
        ...


def snapshots(
    api: AirflowApi, database: Database, ingest: Ingest, metrics: Metrics, clock: Clock
) -> list[Snapshot]:
    """Every snapshot of one Airflow."""
    kinds = (ImportErrors, Pauses, Deletions, Backfills)
    return [each(api, database, ingest, metrics, clock) for each in kinds]
