"""What rules look at of an event."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monitor.events import Event


@dataclass(frozen=True)
class Facts:
    """An event and what the board knows of its DAG."""

    event: Event
    tags: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()

    @classmethod
    def of(cls, event: Event, dag: Mapping[str, Any] | None) -> "Facts":
        """`dag`: the board's row of the event's DAG, where there is one."""
        known = dag or {}
        return cls(event, tuple(known.get("tags") or ()), tuple(known.get("owners") or ()))
