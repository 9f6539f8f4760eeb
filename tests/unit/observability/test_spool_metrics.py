"""What a sender says of its spool: any header is taken or passed over, and a scrape costs one pass."""

import pytest

from monitor.observability.metrics_registry import MetricsRegistry
from monitor.observability.spool_metrics import MAX_SPOOLS, Spools


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def collected(spools: Spools) -> dict[str, dict[str, float]]:
    return {
        family.name: {sample.labels["deployment"]: sample.value for sample in family.samples}
        for family in spools.collect()
    }


def test_hosts_are_summed_by_deployment() -> None:
    spools = Spools(MetricsRegistry(), Clock())
    for deployment, host, waiting, oldest in (("a", "x", 1, 5), ("a", "y", 2, 3), ("b", "x", 4, 0)):
        spools.update(deployment, f"name={host};waiting={waiting};oldest={oldest};refused=0;failed=0")
    assert collected(spools)["windsock_spool_waiting"] == {"a": 3, "b": 4}
    assert collected(spools)["windsock_spool_oldest_seconds"] == {"a": 5, "b": 0}


@pytest.mark.parametrize(
    "header",
    [
        "",
        "name=x",
        "name=x;waiting=-1;oldest=0;refused=0;failed=0",
        f"name=x;waiting={'9' * 13};oldest=0;refused=0;failed=0",
        f"name=x;waiting={'9' * 30_000};oldest=0;refused=0;failed=0",
        "name=x;waiting=٣;oldest=0;refused=0;failed=0",
        f"name={'x' * 65};waiting=1;oldest=0;refused=0;failed=0",
    ],
)
def test_a_malformed_header_is_passed_over(header: str) -> None:
    spools = Spools(MetricsRegistry(), Clock())
    spools.update("a", header)
    assert collected(spools)["windsock_spool_waiting"] == {}


def test_hosts_are_bounded_and_forgotten() -> None:
    clock = Clock()
    spools = Spools(MetricsRegistry(), clock)
    for number in range(MAX_SPOOLS + 10):
        spools.update("a", f"name=h{number};waiting=1;oldest=0;refused=0;failed=0")
    spools.update("b", "name=x;waiting=7;oldest=0;refused=0;failed=0")  # the others are counted all the same
    spools.update("a", "name=new;waiting=5;oldest=0;refused=0;failed=0")
    assert collected(spools)["windsock_spool_waiting"] == {"a": MAX_SPOOLS - 1 + 5, "b": 7}
    clock.now = 1e6
    assert collected(spools)["windsock_spool_waiting"] == {}
