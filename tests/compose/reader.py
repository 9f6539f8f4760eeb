"""A reader of the feed that stays: it resumes at its last event, whatever cuts it off."""

import json
import threading
from types import TracebackType

import httpx
from httpx_sse import connect_sse

from tests.compose.stack import BEGINNING, Stack

AGAIN_SECONDS = 0.5  # between two connections, as a browser waits
SILENCE_SECONDS = 40.0  # of a feed that beats every 15


class Reader(threading.Thread):
    """From the log's beginning, in a thread of its own, until it is left."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(daemon=True)
        self._url = f"{stack.monitor_url}/events"
        self._bearer = stack.bearer
        self._left = threading.Event()
        self.events: list[str] = []
        self.connected = False
        self.resumed = 0
        self.resets = 0
        self._last = ""

    def __enter__(self) -> "Reader":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()

    def run(self) -> None:
        with httpx.Client(timeout=SILENCE_SECONDS, trust_env=False) as http:
            while not self._left.is_set():
                try:
                    self._follow(http)
                except httpx.HTTPError:
                    self.resumed += 1
                self._left.wait(AGAIN_SECONDS)

    def _follow(self, http: httpx.Client) -> None:
        """Until the server ends the feed or the reader leaves. Raises HTTPError."""
        headers = self._bearer | ({"Last-Event-ID": self._last} if self._last else {})
        with connect_sse(http, "GET", self._url, params={"since": BEGINNING}, headers=headers) as source:
            source.response.raise_for_status()
            self.connected = True
            for frame in source.iter_sse():
                self.resets += frame.event == "reset"
                if frame.data and frame.id:
                    self._take(frame.id, json.loads(frame.data))
                if self._left.is_set():
                    break

    def _take(self, cursor: str, event: dict[str, str]) -> None:
        self._last = cursor
        self.events.append(event["id"])
