"""The page docs/metrics.md, from each metric's own description.

`python -m scripts.docs_reference.metrics_page > docs/metrics.md` writes it.
"""

import sys

from monitor.observability.metrics import Metrics
from monitor.observability.metrics_registry import MetricDescription

HEAD = """# Metrics

`GET /metrics` serves the metrics in Prometheus' text format, to everybody who reaches the monitor. They are
numbers, without a name of a DAG, a run or a person. Each monitor shows its own metrics. Several monitors on
one database each count the same outbox, so take `max`, not `sum`, of the numbers that come from the database
(`windsock_outbox_deliveries`, `windsock_deliveries_waiting`, `windsock_delivery_oldest_seconds`). Counters
begin at 0 with each start.

The promises about them are in [slo.md](slo.md). Alert rules and a dashboard are ready in
`compose/observability/`.

This page is generated from the code (`python -m scripts.docs_reference.metrics_page`).
"""


def page() -> str:
    return "\n".join([HEAD, *(_section(metric) for metric in Metrics().described)])


def _section(metric: MetricDescription) -> str:
    labels = [f"- `{name}`: {_values(values)}" for name, values in metric.labels.items()]
    parts = [f"## `{metric.name}`", f"{metric.kind.capitalize()}. {metric.meaning}.", *labels]
    return "\n".join([*parts, "", f"**Bad:** {metric.bad}.", ""])


def _values(values: tuple[str, ...] | str) -> str:
    return values if isinstance(values, str) else ", ".join(f"`{value}`" for value in values)


if __name__ == "__main__":
    sys.stdout.write(page())
