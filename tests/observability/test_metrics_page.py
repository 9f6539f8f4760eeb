"""docs/metrics.md says what the code has: each metric, its labels and their values."""

from monitor.observability.metrics import Metrics
from scripts.docs_reference.metrics_page import page
from tests.monitor_process import REPOSITORY


def test_the_page_is_what_the_code_says() -> None:
    written = (REPOSITORY / "docs/metrics.md").read_text()
    assert written == page(), "write it anew: python -m scripts.docs_reference.metrics_page > docs/metrics.md"


def test_every_metric_that_is_scraped_is_described() -> None:
    metrics = Metrics()
    described = {one.name.removesuffix("_total") for one in metrics.described}
    assert {family.name for family in metrics.registry.collect()} == described


def test_known_series_begin_at_nought_and_have_the_values_that_the_page_names() -> None:
    metrics = Metrics()
    for one in metrics.described:
        if not one.labels or not all(isinstance(values, tuple) for values in one.labels.values()):
            continue
        family = next(
            found for found in metrics.registry.collect() if found.name == one.name.removesuffix("_total")
        )
        for label, values in one.labels.items():
            assert {sample.labels[label] for sample in family.samples} <= set(values), one.name
