"""Background work that failed and was begun anew: what /health says of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.clock import Clock
from monitor.metrics import Metrics

SHOWN = 200  # characters of an error
SHOWN_FOR = timedelta(minutes=10)  # since it failed last: it is begun anew within two minutes


@dataclass(frozen=True)
class Failed:
    at: datetime
    error: str


class FailedWorks:
    """Of this process, by the work's name."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._last: dict[str, Failed] = {}

    def note(self, work: str, error: Exception) -> None:
        self._metrics.work_failures.labels(work).inc()
        self._last[work] = Failed(self._clock(), f"{type(error).__name__}: {error}"[:SHOWN])

    def lately(self) -> Mapping[str, Failed]:
        now = self._clock()
        return {work: each for work, each in self._last.items() if now - each.at < SHOWN_FOR}
