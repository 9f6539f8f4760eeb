"""What delivery asks of an Airflow; monitor.airflow_api.AirflowApi is one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol


class Airflow(Protocol):
    """Each method raises AirflowError; AirflowNotFound where Airflow itself says that it does not
    know the run."""

    async def dag_run(self, dag_id: str, run_id: str) -> dict[str, Any]: ...

    async def task_instances(
        self, dag_id: str, run_id: str, state: Sequence[str] = ()
    ) -> list[dict[str, Any]]: ...

    async def log_tail(
        self, dag_id: str, run_id: str, task_id: str, map_index: int, try_number: int, lines: int
    ) -> list[str]: ...

    async def runs_of(
        self, dag_id: str, until: datetime, state: Sequence[str], limit: int
    ) -> list[dict[str, Any]]: ...

    async def asset_events_of(self, dag_id: str, run_id: str, limit: int) -> list[dict[str, Any]]: ...
