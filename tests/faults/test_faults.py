"""A short fault run; `python -m tests.faults --kills 200` is the long one."""

from pathlib import Path

import pytest

from tests.faults.experiment import experiment

KILLS = 20
SEED = 20261122


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_doubled_whatever_dies(tmp_path: Path) -> None:
    verdict = experiment(tmp_path, SEED, KILLS)
    assert not verdict.wrong, str(verdict)
    assert verdict.kills.total() == KILLS
    assert verdict.states.held > 0
    assert verdict.mails.accepted > 0
