"""Each installation, rendered once."""

from functools import cache

import pytest

from tests.chart.cases import CASES
from tests.chart.helm import Manifest, render


@cache
def rendered(case: str) -> list[Manifest]:
    return render(CASES[case])


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    """The installation's name in CASES."""
    return str(request.param)


@pytest.fixture
def manifests(case: str) -> list[Manifest]:
    return rendered(case)
