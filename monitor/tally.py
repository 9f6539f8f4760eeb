"""What became of the events that arrived, and how late they came to be known, in the metrics.

By reporter and by kind first: to find the metric of a label takes longer than to count in it.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from prometheus_client import Histogram

from monitor.events import Event
from monitor.metrics import Metrics

ENDS = {
    **{f"airflow.dag_run.{state}": "run" for state in ("success", "failed")},
    **{
        f"airflow.task_instance.{state}": "task"
        for state in ("success", "failed", "skipped", "upstream_failed", "removed", "up_for_retry")
    },
}
"""What is an end, of a run or of a task's try: whose delay is what was promised (docs/slo.md)."""


class Tally:
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def count(
        self, events: Sequence[Event], taken: Sequence[bool], origins: Mapping[str, datetime], now: datetime
    ) -> None:
        """`taken`: of each event whether it was new. `origins`: since when deployments are known; what ended
        before is not late."""
        duplicates: Counter[str] = Counter()
        delays: dict[str, list[float]] = defaultdict(list)
        ends: dict[str, list[float]] = defaultdict(list)
        for event, new in zip(events, taken, strict=True):
            if not new:
                duplicates[event.data.reported_by] += 1
                continue
            late = max(0.0, (now - event.time).total_seconds())
            delays[event.data.reported_by].append(late)
            of = ENDS.get(event.type)
            if of and event.time >= origins.get(event.deployment, now):
                ends[of].append(late)
        for reporter, number in duplicates.items():
            self._metrics.events.labels("duplicate", reporter).inc(number)
        for reporter, some in delays.items():
            self._metrics.events.labels("accepted", reporter).inc(len(some))
        _observe(self._metrics.event_delay, delays)
        _observe(self._metrics.notification_delay, ends)

    def count_conflict(self, event: Event) -> None:
        """One whose id the log has for another thing."""
        self._metrics.id_conflicts.labels(event.deployment).inc()


def _observe(family: Histogram, values: Mapping[str, Sequence[float]]) -> None:
    """By the family's one label."""
    for label, some in values.items():
        observe = family.labels(label).observe
        for value in some:
            observe(value)
