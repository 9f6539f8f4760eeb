"""The back-off after a failed request, shared by all processes of a host through a file in the spool.

A task that starts while the monitor is down must not find that out for itself, because each attempt costs
its time budget.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

from airflow_windsock import small_file

FIRST_WAIT = 1.0  # seconds; also the shortest, so that a failure always spares the next tasks
LONGEST_WAIT = 8.0  # seconds; how late, at most, a monitor that is back again hears the news. An attempt
# costs a connection, of one process a host: cheap enough for an outage of any length
LONGEST_ASKED = 30.0  # seconds; more of a pause than this the monitor's Retry-After is not given


class Backoff:
    """Exponential with full jitter above FIRST_WAIT. Wall-clock time, since processes share it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def wait(self) -> float:
        """Seconds for which nothing shall be sent. Never more than LONGEST_ASKED, should the clock be set."""
        until = self._state()[1]
        return min(max(until - time.time(), 0.0), LONGEST_ASKED)

    def failing(self) -> bool:
        """Whether the last attempt of any process failed."""
        return self._state()[0] > 0

    def record_failure(self, at_least: float = 0.0) -> float:
        """Notes a failure and gives the seconds to wait; `at_least` as the monitor's Retry-After has it."""
        failures = self._state()[0] + 1
        longest = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures, 16))
        drawn = random.uniform(FIRST_WAIT, longest)  # noqa: S311 (spreads load, keeps no secret)
        wait = max(drawn, min(at_least, LONGEST_ASKED))
        small_file.write(self._path, json.dumps({"failures": failures, "until": time.time() + wait}))
        return wait

    def record_success(self) -> None:
        self._path.unlink(missing_ok=True)

    def _state(self) -> tuple[int, float]:
        try:
            state = json.loads(self._path.read_text())
            return int(state["failures"]), float(state["until"])
        except FileNotFoundError:
            return 0, 0.0
        except (OSError, ValueError, KeyError, TypeError):  # foreign or broken: as if there had been none
            return 0, 0.0
