"""The metrics of the plugin's spools, from the request header `windsock-spool` (docs/plugin.md).

A spool belongs to the Airflow processes of one host, and a host may be a pod that lives for one task. So
each spool's values are kept for a while under the spool's name, and the metrics show only sums.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from monitor.observability.metrics_registry import MetricsRegistry

HEADER = "windsock-spool"
FORGET_SECONDS = 600.0  # a host that says nothing for so long has nothing to send, or is gone
MAX_SPOOLS = 1_000  # of one deployment. Of more, the one that has not reported for longest gives way
NUMBER = "([0-9]{1,12})"
FORM = re.compile(
    rf"name=([A-Za-z0-9._-]{{1,64}});waiting={NUMBER};oldest={NUMBER};refused={NUMBER};failed={NUMBER}"
)
FAMILIES = (
    (
        "windsock_spool_waiting",
        "Events that waited in the plugin's spools when they sent last",
        "Grows, or stays above some hundreds: a host cannot send as fast as its hooks report",
    ),
    (
        "windsock_spool_oldest_seconds",
        "Age of the oldest event that waited in any of the plugin's spools when it sent last",
        "Above 60: the monitor was away, or is too slow",
    ),
    (
        "windsock_spool_refused",
        "Events that spools refused because they were full, since they were made",
        "Any growth: raise spool_max_events, or mend what keeps them full. The reconciler fills in",
    ),
    (
        "windsock_spool_failed_hooks",
        "Hooks that could not report, since the spools were made",
        "Any growth: Airflow's log says why. The reconciler fills in",
    ),
)


@dataclass(frozen=True)
class _SpoolStatus:
    at: float
    waiting: int
    oldest: int
    refused: int
    failed: int


class Spools(Collector):
    """The metrics of the plugins' spools, as their headers report them."""

    def __init__(self, registry: MetricsRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._statuses: dict[str, OrderedDict[str, _SpoolStatus]] = {}
        for name, meaning, bad in FAMILIES:
            registry.describe(name, "gauge", meaning, bad, {"deployment": "the Airflow's name in events"})
        registry.registry.register(self)

    def update(self, deployment: str, header: str) -> None:
        """Keep the status that a header gives. A malformed header is ignored."""
        found = FORM.fullmatch(header)
        if found is None:
            return
        statuses = self._statuses.setdefault(deployment, OrderedDict())
        statuses[found[1]] = _SpoolStatus(self._clock(), *map(int, found.groups()[1:]))
        statuses.move_to_end(found[1])
        if len(statuses) > MAX_SPOOLS:
            statuses.popitem(last=False)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of all spools that reported lately."""
        self._forget()
        families = [GaugeMetricFamily(name, meaning, labels=["deployment"]) for name, meaning, _ in FAMILIES]
        by_deployment = {name: list(statuses.values()) for name, statuses in list(self._statuses.items())}
        for deployment, of in sorted(by_deployment.items()):
            if not of:
                continue
            values = (
                sum(spool.waiting for spool in of),
                max(spool.oldest for spool in of),
                sum(spool.refused for spool in of),
                sum(spool.failed for spool in of),
            )
            for family, value in zip(families, values, strict=True):
                family.add_metric([deployment], value)
        yield from families

    def _forget(self) -> None:
        before = self._clock() - FORGET_SECONDS
        for statuses in list(self._statuses.values()):
            while statuses and next(iter(statuses.values())).at < before:
                statuses.popitem(last=False)
