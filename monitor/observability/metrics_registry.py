"""The registry of metrics, each with its meaning and a description of a bad value.

A new metric is an attribute in one of the groups of metrics.py, made by `counter`, `gauge` or `histogram`.
The code that counts gets the `Metrics` object handed in. A gauge whose value is read at each scrape is
connected in `set_gauges` (app.py). Then `make docs-reference` renews docs/metrics.md.

docs/metrics.md is generated from the descriptions (scripts/docs_reference/metrics_page.py). So no metric
exists that a person cannot read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

Labels = Mapping[str, tuple[str, ...] | str]
"""Each label's name, and its values: all that there are, or in words what they name."""
NONE: Labels = MappingProxyType({})

Family = TypeVar("Family", Counter, Histogram)


@dataclass(frozen=True)
class MetricDescription:
    """A metric, for people."""

    name: str
    """The name as it is scraped. A counter's name ends in _total."""
    kind: str
    meaning: str
    bad: str
    """The form of a bad value."""
    labels: Labels

    @property
    def series(self) -> tuple[str, ...]:
        """The names that queries use."""
        parts = ("_bucket", "_sum", "_count") if self.kind == "histogram" else ("",)
        return tuple(self.name + part for part in parts)


class MetricsRegistry:
    """The registry of metrics, with their descriptions."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.described: list[MetricDescription] = []

    def counter(self, name: str, meaning: str, bad: str, labels: Labels = NONE) -> Counter:
        """Return a new counter."""
        self.describe(f"{name}_total", "counter", meaning, bad, labels)
        return _init_series(Counter(name, meaning, list(labels), registry=self.registry), labels)

    def adopt(self, counter: Counter, bad: str, labels: Labels) -> None:
        """Show a counter that the whole process has."""
        [family] = counter.describe()
        self.describe(f"{family.name}_total", "counter", family.documentation, bad, labels)
        self.registry.register(counter)

    def gauge(self, name: str, meaning: str, bad: str, labels: Labels = NONE) -> Gauge:
        """Return a new gauge."""
        self.describe(name, "gauge", meaning, bad, labels)
        return Gauge(name, meaning, list(labels), registry=self.registry)

    def histogram(
        self, name: str, meaning: str, bad: str, buckets: Sequence[float], labels: Labels = NONE
    ) -> Histogram:
        """Return a new histogram."""
        self.describe(name, "histogram", meaning, bad, labels)
        family = Histogram(name, meaning, list(labels), buckets=buckets, registry=self.registry)
        return _init_series(family, labels)

    def describe(self, name: str, kind: str, meaning: str, bad: str, labels: Labels) -> None:
        """Describe a metric of a separate collector (spool_metrics.py)."""
        self.described.append(MetricDescription(name, kind, meaning, bad, labels))


def _init_series(family: Family, labels: Labels) -> Family:
    """Begin each series whose labels are known at zero.
    A series that began with its first event would hide that event from every query for an increase."""
    if labels and all(isinstance(values, tuple) for values in labels.values()):
        for values in product(*labels.values()):
            family.labels(*values)
    return family
