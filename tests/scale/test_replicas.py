"""A short form of `make test-scale`."""

from pathlib import Path

import pytest

from tests.scale.replicas import replicas

FAILURES = 60
SEED = 20261125


@pytest.mark.slow
def test_each_mail_once_and_each_feed_whole_whoever_dies(tmp_path: Path) -> None:
    outcome = replicas(tmp_path, FAILURES, SEED, patient=False)
    assert not outcome.wrong, "\n".join([outcome.summary, *outcome.wrong])
