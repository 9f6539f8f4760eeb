"""One Airflow for all scenarios, and the report of what became of them."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.scenarios.measure import measure, save
from tests.scenarios.report import FOLDER
from tests.scenarios.scenario import Scenario
from tests.scenarios.stage import Stage, opened
from tests.scenarios.table import IN_SEQUENCE, SIDE_BY_SIDE

AT_ONCE = 40  # stories: many of them wait, and Airflow's api-server has its tasks to serve
Played = Mapping[str, "Future[None]"]

FAILURES = pytest.StashKey[dict[str, str | None]]()
"""The scenarios that were played, each with the reason for which it failed, or None."""


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Stage]:
    failures = request.config.stash.setdefault(FAILURES, {})
    scenarios = (*SIDE_BY_SIDE, *IN_SEQUENCE)
    with opened(tmp_path_factory.mktemp("scenarios")) as stage:
        yield stage
        if set(failures) == {scenario.name for scenario in scenarios}:  # a part is no report of the whole
            save(measure(stage, scenarios, failures), FOLDER)


@pytest.fixture(scope="session")
def played(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Played]:
    """The scenarios that do not disturb each other, many at once, as far as they are asked for."""
    yield from _begun(SIDE_BY_SIDE, AT_ONCE, stage, request)


@pytest.fixture(scope="session")
def played_in_sequence(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Played]:
    """The others, one after the other, while what became of the first ones is still looked at."""
    yield from _begun(IN_SEQUENCE, 1, stage, request)


def _begun(
    scenarios: Sequence[Scenario], at_once: int, stage: Stage, request: pytest.FixtureRequest
) -> Iterator[Played]:
    asked = {scenario.name for item in request.session.items if (scenario := scenario_of(item))}
    with ThreadPoolExecutor(at_once, thread_name_prefix="story") as threads:
        yield {each.name: threads.submit(each.play, stage) for each in scenarios if each.name in asked}


def scenario_of(item: pytest.Item) -> Scenario | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("scenario") if callspec else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    scenario = scenario_of(item)
    if scenario and call.when == "call":
        reason = str(call.excinfo.value).partition("\n")[0] if call.excinfo else None
        item.config.stash.setdefault(FAILURES, {})[scenario.name] = reason
    return report
