"""A program that reads the feed from its start, beside everything else that goes on, and resumes."""

import json
import threading
from typing import Any

import httpx
from httpx_sse import connect_sse

AGAIN_SECONDS = 0.2  # between two connections, while the monitor is away


class FeedReader:
    """Collects every event of a monitor's feed until closed, whatever becomes of the monitor."""

    def __init__(self, url: str) -> None:
        self.events: list[dict[str, Any]] = []
        self.resets: list[str] = []
        self._url = f"{url}/events"
        self._last_id = ""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed-reader", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._read()
            except httpx.TransportError:
                self._closing.wait(AGAIN_SECONDS)

    def _read(self) -> None:
        headers = {"Last-Event-ID": self._last_id} if self._last_id else {}
        timeout = httpx.Timeout(5, read=30)
        with (
            httpx.Client(timeout=timeout, trust_env=False) as client,
            connect_sse(client, "GET", self._url, headers=headers) as source,
        ):
            for frame in source.iter_sse():
                if self._closing.is_set():
                    return
                self._last_id = frame.id or self._last_id
                if frame.event == "reset":
                    self.resets.append(frame.data)
                elif frame.data:
                    self.events.append(json.loads(frame.data))

    def ids(self) -> list[str]:
        return [event["id"] for event in self.events]

    def close(self) -> None:
        """Stop; the connection ends with its next frame or heartbeat."""
        self._closing.set()
