"""The table of issue 3, row by row."""

from tests.scenarios.stories.endings import DEATHS, ENDINGS

SIDE_BY_SIDE = (*ENDINGS, *DEATHS)
IN_SEQUENCE = ()
