"""The table, row by row: what this Airflow has of it."""

from tests.airflow_environment import version
from tests.scenarios.scenario import Scenario
from tests.scenarios.stories.assets import ASSETS
from tests.scenarios.stories.by_hand import BY_HAND
from tests.scenarios.stories.endings import DEATHS, ENDINGS
from tests.scenarios.stories.files import FILES
from tests.scenarios.stories.people import PEOPLE
from tests.scenarios.stories.services import SERVICES
from tests.scenarios.stories.troubles import TROUBLES


def _played(*scenarios: Scenario) -> tuple[Scenario, ...]:
    here = version()
    return tuple(scenario for scenario in scenarios if here >= scenario.since)


SIDE_BY_SIDE = _played(*FILES, *TROUBLES, *DEATHS, *PEOPLE, *ENDINGS, *BY_HAND, *ASSETS)
"""They do not disturb each other. Those that wait longest come first."""
IN_SEQUENCE = _played(*SERVICES)
"""Each disturbs whatever runs."""
