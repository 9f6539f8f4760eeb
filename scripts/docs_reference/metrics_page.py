"""The page docs/metrics.md, from each metric's own description.

`python -m scripts.docs_reference.metrics_page > docs/metrics.md` writes it.
"""

import sys

from monitor.observability.metrics import Metrics
from monitor.observability.metrics_registry import MetricDescription

HEAD = """# Metrics

`GET /metrics`, in Prometheus' text format, open to everybody who reaches the monitor: it holds numbers,
and no name of a DAG, a run or a person. Each monitor shows its own; of several on one database each counts
the same outbox, so take `max`, not `sum`, of what stands in the database (`windsock_outbox_deliveries`,
`windsock_deliveries_waiting`, `windsock_delivery_oldest_seconds`). Counters begin at nought with each start.

What they promise: [slo.md](slo.md). Ready-made: alert rules and a dashboard in `compose/observability/`.

This page is made of the code (`python -m scripts.docs_reference.metrics_page`).
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
