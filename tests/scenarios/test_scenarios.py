"""Every scenario of the table, and then the whole: Airflow's database against the log."""

import pytest

from tests.e2e.truth import endings, untold
from tests.scenarios.conftest import Played
from tests.scenarios.recoveries import false_recoveries
from tests.scenarios.scenario import Scenario
from tests.scenarios.stage import Stage
from tests.scenarios.table import IN_SEQUENCE, SIDE_BY_SIDE

pytestmark = pytest.mark.slow

STORY_SECONDS = 240.0


@pytest.mark.parametrize("scenario", SIDE_BY_SIDE, ids=lambda scenario: scenario.name)
def test_side_by_side(scenario: Scenario, played: Played) -> None:
    played[scenario.name].result(STORY_SECONDS)


@pytest.mark.parametrize("scenario", IN_SEQUENCE, ids=lambda scenario: scenario.name)
def test_in_sequence(scenario: Scenario, stage: Stage, played_in_sequence: Played) -> None:
    played_in_sequence[scenario.name].result(STORY_SECONDS)
    stage.until_told(scenario.name)


def test_the_log_holds_every_terminal_state_once(stage: Stage) -> None:
    stage.until_told(*{ending.origin for ending in endings(stage.airflow)})
    assert untold(endings(stage.airflow), stage.log.ids()) == []


def test_nobody_was_notified_of_a_recovery_that_was_none(stage: Stage) -> None:
    assert false_recoveries(stage.airflow, stage.monitor, stage.log) == []
