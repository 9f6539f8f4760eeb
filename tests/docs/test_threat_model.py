"""docs/threat-model.md: what it says is tested, is tested where it says."""

import re

from tests.airflow_environment import REPOSITORY
from tests.docs.page import DOCS


def test_the_tests_that_it_names_are_there() -> None:
    named = re.findall(r"`((?:tests/|test_)[^`]*)`", (DOCS / "threat-model.md").read_text())
    assert len(named) > 20
    for name in named:
        within = REPOSITORY.glob(name if name.startswith("tests/") else f"tests/*/{name}")
        assert list(within), name
