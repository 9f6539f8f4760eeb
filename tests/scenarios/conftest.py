"""One Airflow for all scenarios."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.scenarios.stage import Stage, opened
from tests.scenarios.table import SIDE_BY_SIDE

Played = Mapping[str, "Future[None]"]


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with opened(tmp_path_factory.mktemp("scenarios")) as stage:
        yield stage


@pytest.fixture(scope="session")
def played(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Played]:
    """The scenarios that do not disturb each other, begun all at once, as far as they are asked for."""
    wanted = {
        item.callspec.params["scenario"].name for item in request.session.items if hasattr(item, "callspec")
    }
    scenarios = [scenario for scenario in SIDE_BY_SIDE if scenario.name in wanted]
    with ThreadPoolExecutor(max_workers=max(1, len(scenarios)), thread_name_prefix="story") as threads:
        yield {scenario.name: threads.submit(scenario.play, stage) for scenario in scenarios}
