"""The monitor's live feed, shown and remembered."""

from typing import Any

import httpx

from monitor.clock import utc_now
from monitor.events import stamp
from monitor.tail import RESET, follow, render
from monitor.up.screen import Screen

Heard = set[tuple[str, str, str]]
"""(type, dag_id, run_id) of run events; (type, asset's name, source_run_id) of asset updates."""


class Feed:
    """Shows every event from now on, and keeps what the story asks for."""

    def __init__(self, monitor: httpx.AsyncClient, screen: Screen) -> None:
        self.heard: Heard = set()
        self._monitor = monitor
        self._screen = screen
        self._since = stamp(utc_now())

    async def run(self) -> None:
        """Never ends. Raises TailRefused where the monitor does not let us read."""
        async for message in follow(self._monitor, {"since": self._since}):
            if message.type != RESET:
                self._remember(message.type, message.data["data"])
            self._screen.show(render(message))

    def _remember(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "airflow.asset.updated":
            self.heard.add((kind, data["asset"]["name"], data["source_run_id"] or ""))
        elif kind.startswith("airflow.dag_run."):
            self.heard.add((kind, data["dag_id"], data["run_id"]))
