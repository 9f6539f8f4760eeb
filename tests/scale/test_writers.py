"""A short form of `make test-scale`."""

from pathlib import Path

import pytest

from tests.scale.writers import writers

EVENTS = 5_000
FEW = 1_500
SEED = 20261125


@pytest.mark.slow
def test_each_feed_is_told_everything_in_order_whoever_writes_where(tmp_path: Path) -> None:
    outcome = writers(tmp_path, EVENTS, SEED)
    assert not outcome.wrong, "\n".join([outcome.summary, *outcome.wrong])


@pytest.mark.slow
def test_without_the_logs_lock_readers_step_over_events(tmp_path: Path) -> None:
    """The proof above can fail."""
    outcome = writers(tmp_path, FEW, SEED, serialised=False)
    assert any("stepped over" in what for what in outcome.wrong), "\n".join([outcome.summary, *outcome.wrong])
