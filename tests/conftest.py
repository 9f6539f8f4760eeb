"""What is slow, and so left by `make test` to `make test-all`; how examples are chosen (CONTRIBUTING.md)."""

import pytest

from tests import examples

examples.load()

WITH_CHROMIUM = {"browser", "feed", "e2e"}  # elsewhere a fixture of that name is an HTTP client


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        asked = getattr(item, "fixturenames", ())
        browser = "browser" in asked and item.path.parent.name in WITH_CHROMIUM
        if browser or "postgres" in asked or "[postgresql" in item.name or "-postgresql" in item.name:
            item.add_marker(pytest.mark.slow)
