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

FIRST_WAIT = 1.0  # seconds. The shortest wait too, so that a failure always spares the next tasks
LONGEST_WAIT = 8.0  # seconds: the longest delay until a monitor that is back gets events. An attempt
# costs a connection, of one process a host: cheap enough for an outage of any length
LONGEST_ASKED = 30.0  # seconds: the monitor's Retry-After gets no longer pause


class Backoff:
    """The exponential back-off with full jitter above FIRST_WAIT.
    Its times are wall-clock times, because processes share them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def wait(self) -> float:
        """Return the seconds for which nothing may be sent: at most LONGEST_ASKED, if the clock is set."""
        until = self._state()[1]
        return min(max(until - time.time(), 0.0), LONGEST_ASKED)

    def failing(self) -> bool:
        """Return True if the last attempt of any process failed."""
        return self._state()[0] > 0

    def record_failure(self, at_least: float = 0.0) -> float:
        """Record a failure and return the seconds to wait. `at_least` is the monitor's Retry-After."""
        failures = self._state()[0] + 1
        longest = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures, 16))
        drawn = random.uniform(FIRST_WAIT, longest)  # noqa: S311 (spreads load, keeps no secret)
        wait = max(drawn, min(at_least, LONGEST_ASKED))
        small_file.write(self._path, json.dumps({"failures": failures, "until": time.time() + wait}))
        return wait

    def record_success(self) -> None:
        """Forget all failures."""
        self._path.unlink(missing_ok=True)

    def _state(self) -> tuple[int, float]:
        try:
            state = json.loads(self._path.read_text())
            return int(state["failures"]), float(state["until"])
        except FileNotFoundError:
            return 0, 0.0
        except (OSError, ValueError, KeyError, TypeError):  # foreign or broken: as if there had been none
            return 0, 0.0
