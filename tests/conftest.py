"""What `make test` leaves to `make test-all`: whatever is marked slow, and whatever asks for a browser."""

import pytest

WITH_CHROMIUM = {"browser", "feed", "e2e"}  # elsewhere a fixture of that name is an HTTP client


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()) and item.path.parent.name in WITH_CHROMIUM:
            item.add_marker(pytest.mark.slow)
