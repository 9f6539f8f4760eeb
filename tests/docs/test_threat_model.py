"""docs/threat-model.md: what it says is tested, is tested where it says."""

import re

import pytest

from scripts.docs_reference import bounds
from scripts.docs_reference.bounded_surfaces import Surface
from tests.airflow_environment import REPOSITORY
from tests.docs.page import DOCS


def test_the_tests_that_it_names_are_there() -> None:
    named = re.findall(r"`((?:tests/|test_)[^`]*)`", (DOCS / "threat-model.md").read_text())
    assert len(named) > 20
    for name in named:
        within = REPOSITORY.glob(name if name.startswith("tests/") else f"tests/*/{name}")
        assert list(within), name


@pytest.mark.parametrize("surface", list(bounds.surfaces()), ids=lambda surface: surface.name)
def test_each_bound_has_its_test(surface: Surface) -> None:
    file, _, name = surface.test.partition("::")
    assert re.search(rf"^def {name}\(", (REPOSITORY / "tests" / file).read_text(), re.MULTILINE), surface.test


def test_each_surface_stands_once_and_the_page_has_them_all() -> None:
    names = [surface.name for surface in bounds.surfaces()]
    page = (DOCS / "threat-model.md").read_text()
    assert all(f"| {name} |" in page for name in names)
