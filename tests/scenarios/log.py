"""The monitor's log as a program sees it: read once, then only what is new."""

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from tests.monitor_process import MonitorProcess

PAGE = 200  # the most that the monitor answers at once


@dataclass(frozen=True)
class Telling:
    """One event, and when the log had it."""

    seq: int
    received_at: datetime
    event: dict[str, Any]

    @property
    def reporter(self) -> str:
        return str(self.event["data"].get("reported_by"))


class Log:
    """Safe for the threads in which stories are played."""

    def __init__(self, monitor: MonitorProcess) -> None:
        # One client: each makes a TLS context of its own, and there are hundreds of looks.
        self._client = httpx.Client(base_url=monitor.url, timeout=30, trust_env=False)
        self._lock = threading.Lock()
        self._read: list[Telling] = []

    def read(self) -> list[Telling]:
        """The whole log, oldest first."""
        with self._lock:
            last = self._read[-1].seq if self._read else 0
            self._read += self._after(last)
            return list(self._read)

    def ids(self) -> list[str]:
        return [str(telling.event["id"]) for telling in self.read()]

    def close(self) -> None:
        self._client.close()

    def _after(self, last: int) -> list[Telling]:
        """The API goes from the latest backwards: as far as what is known."""
        found: list[Telling] = []
        query: dict[str, Any] = {"limit": PAGE}
        while True:
            page = self._client.get("/api/v1/events", params=query).raise_for_status().json()
            fresh = [row for row in page["events"] if row["seq"] > last]
            found += [
                Telling(row["seq"], datetime.fromisoformat(row["received_at"]), row["event"]) for row in fresh
            ]
            if len(fresh) < len(page["events"]) or not page.get("next"):
                return found[::-1]
            query["cursor"] = page["next"]
