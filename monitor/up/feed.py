"""The monitor's live feed, shown and remembered."""

import asyncio
import json
from typing import Any

import httpx
from rich.markup import escape

from monitor.up.screen import Screen

RETRY_SECONDS = 0.5
SILENCE_SECONDS = 60.0  # several heartbeats: the connection is dead

Heard = set[tuple[str, str, str]]
"""(type, dag_id, run_id) of run events; (type, asset's name, source_run_id) of asset updates."""


class Feed:
    """Shows every event from now on, and keeps what the story asks for."""

    def __init__(self, monitor: httpx.AsyncClient, screen: Screen) -> None:
        self.connected = asyncio.Event()
        self.heard: Heard = set()
        self.trouble = "it has not answered"
        """Why the last connection ended."""
        self._monitor = monitor
        self._screen = screen
        self._last = ""

    async def run(self) -> None:
        """Never ends; a broken connection is made anew where it broke."""
        while True:
            try:
                await self._read()
            except httpx.HTTPError as error:
                self.trouble = str(error) or type(error).__name__
                await asyncio.sleep(RETRY_SECONDS)

    async def _read(self) -> None:
        headers = {"Last-Event-ID": self._last} if self._last else {}
        timeout = httpx.Timeout(SILENCE_SECONDS)
        async with self._monitor.stream("GET", "/events", headers=headers, timeout=timeout) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    self._last = value
                    self.connected.set()
                elif name == "data" and "type" in (event := json.loads(value)):
                    self._take(event)

    def _take(self, event: dict[str, Any]) -> None:
        data = event["data"]
        if event["type"] == "airflow.asset.updated":
            self.heard.add((event["type"], data["asset"]["name"], data["source_run_id"] or ""))
        elif event["type"].startswith("airflow.dag_run."):
            self.heard.add((event["type"], data["dag_id"], data["run_id"]))
        self._screen.show(f"{event['time'][11:23]}  {escape(event['type'])}  {escape(event['subject'])}")
