"""The table, row by row."""

from tests.scenarios.stories.assets import ASSETS
from tests.scenarios.stories.by_hand import BY_HAND
from tests.scenarios.stories.endings import DEATHS, ENDINGS
from tests.scenarios.stories.files import FILES
from tests.scenarios.stories.services import SERVICES

SIDE_BY_SIDE = (*ENDINGS, *DEATHS, *BY_HAND, *ASSETS, *FILES)
"""They do not disturb each other."""
IN_SEQUENCE = SERVICES
"""Each disturbs whatever runs."""
