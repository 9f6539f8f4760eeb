"""The state of Airflow's own components by its health check (`GET /monitor/health`, which needs no token)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from monitor.events.values import moment_from

COMPONENTS = ("scheduler", "triggerer", "dag_processor")
"""As Airflow names them. The metadata database is not among them: without it Airflow answers nothing."""
HEALTHY = "healthy"


@dataclass(frozen=True)
class Component:
    """One component that was started at least once."""

    name: str
    status: str
    """healthy, unhealthy, or a word that a later Airflow may have."""
    heartbeat: datetime | None
    """The latest."""

    @property
    def spelled(self) -> str:
        """As Airflow's commands and documentation have it: `dag-processor`."""
        return self.name.replace("_", "-")

    @property
    def is_healthy(self) -> bool:
        return self.status == HEALTHY


def components(health: Mapping[str, Any]) -> list[Component]:
    """Those of Airflow's answer. A component whose status is null was never started, and is none."""
    found = ((name, health.get(name)) for name in COMPONENTS)
    return [
        Component(name, str(told["status"]), _moment(told.get(f"latest_{name}_heartbeat")))
        for name, told in found
        if isinstance(told, Mapping) and told.get("status") is not None
    ]


def _moment(value: Any) -> datetime | None:
    try:
        return moment_from(value)
    except ValueError:
        return None
