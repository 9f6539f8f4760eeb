"""Every scenario of the table, and then the whole: Airflow's database against the log."""

import pytest

from tests.scenarios.conftest import Played
from tests.scenarios.scenario import Scenario
from tests.scenarios.table import SIDE_BY_SIDE

pytestmark = pytest.mark.slow

STORY_SECONDS = 240.0


@pytest.mark.parametrize("scenario", SIDE_BY_SIDE, ids=lambda scenario: scenario.name)
def test_side_by_side(scenario: Scenario, played: Played) -> None:
    played[scenario.name].result(STORY_SECONDS)
