"""The limit of repeated log messages to one a minute.

A monitor that is down must not fill Airflow's logs with one line for each event.
"""

from __future__ import annotations

import time

SAY_EVERY = 60.0  # seconds


class LogLimit:
    """The limit of log lines: each key may be logged once in SAY_EVERY seconds."""

    def __init__(self) -> None:
        self._last_logged: dict[str, float] = {}

    def allows(self, key: str) -> bool:
        """Return True if the key may be logged now."""
        now = time.monotonic()
        if now - self._last_logged.get(key, float("-inf")) < SAY_EVERY:
            return False
        self._last_logged[key] = now
        return True
