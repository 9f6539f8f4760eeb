"""What the answers of Airflow, and of what stands before it, mean for a report."""

import asyncio
from collections.abc import Iterator

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from monitor.airflow.client import AirflowApi
from monitor.delivery.confirm import CONFIRMED, GONE, IS_TEST, Confirmation, ConfirmationResult, ask
from monitor.events.event import Event, parse_event
from tests.sample import run_event, task_event
from tests.unit.airflow_api_fake import NO_ROUTE, PASSWORD, USERNAME, FakeAirflow, serving
from tests.unit.conftest import FakeClock

REPORTS = [parse_event(run_event("failed")), parse_event(task_event("failed"))]


@pytest.fixture
def fake(clock: FakeClock) -> Iterator[FakeAirflow]:
    with serving(FakeAirflow(clock)) as fake:
        yield fake


def answer_to(fake: FakeAirflow, event: Event) -> ConfirmationResult:
    async def story() -> ConfirmationResult:
        api = AirflowApi("local", fake.url, USERNAME, PASSWORD, 10, fake.clock)
        try:
            return await ask(api, event)
        finally:
            await api.close()

    return asyncio.run(story())


@pytest.mark.parametrize("event", REPORTS, ids=["run", "task"])
@pytest.mark.parametrize(
    "response",
    [
        PlainTextResponse("default backend - 404", 404),
        PlainTextResponse("<html><title>404 Not Found</title>", 404),
        PlainTextResponse("<html>Sign in", 200),
        JSONResponse({"detail": "Not Found"}, 404),
        JSONResponse({"status": "up"}),
        NO_ROUTE,
    ],
    ids=["ingress", "wrong path", "sign-in page", "another service", "status page", "no route"],
)
@pytest.mark.parametrize("part", ["/dagRuns/", "/auth/token"])
def test_what_is_not_airflows_own_word_on_the_run_is_no_answer(
    fake: FakeAirflow, event: Event, response: Response, part: str
) -> None:
    fake.failures = [(part, response)] * 3
    answer = answer_to(fake, event)
    assert answer.confirmation is Confirmation.UNREACHABLE
    assert "404" in answer.why or "cannot be read" in answer.why


@pytest.mark.parametrize("event", REPORTS, ids=["run", "task"])
def test_airflows_own_word_on_the_run_is_believed(fake: FakeAirflow, event: Event) -> None:
    run = f"dag_id: `{event.get('dag_id')}` and run_id: `{event.get('run_id')}`"
    fake.failures = [("/dagRuns/", JSONResponse({"detail": f"The DagRun with {run} was not found"}, 404))]
    assert answer_to(fake, event) == GONE


@pytest.mark.parametrize("event", REPORTS, ids=["run", "task"])
def test_a_test_of_a_dag_is_no_production(fake: FakeAirflow, event: Event) -> None:
    """A plugin of before does not say it, and of its tasks no hook does."""
    told = run_event("failed")["data"] | {"dag_run_id": "manual__1", "triggered_by": "test"}
    task = task_event("failed")["data"] | {"dag_run_id": "manual__1", "id": event.get("ti_id")}
    fake.runs, fake.tasks = [told], [task]
    assert answer_to(fake, event) == IS_TEST
    fake.runs[0]["triggered_by"] = "ui"
    assert answer_to(fake, event) == CONFIRMED


def test_that_a_run_is_deleted_is_confirmed_by_airflows_not_knowing_it(fake: FakeAirflow) -> None:
    deleted = parse_event(run_event("deleted"))
    assert answer_to(fake, deleted) == CONFIRMED
    fake.runs = [run_event("failed")["data"] | {"dag_run_id": "manual__1"}]
    assert answer_to(fake, deleted).confirmation is Confirmation.CONTRADICTED


@pytest.mark.parametrize(
    ("told", "said", "word"),
    [
        ("failed", "running", Confirmation.PENDING),  # so that it is told once Airflow says so
        ("failed", "failed", Confirmation.CONFIRMED),
        ("success", "failed", Confirmation.CONTRADICTED),
        (
            "up_for_retry",
            "running",
            Confirmation.CONFIRMED,
        ),  # it failed while it was queued, and goes on under its UUID
    ],
)
def test_a_try_is_known_by_its_uuid_whatever_number_is_reported(
    fake: FakeAirflow, told: str, said: str, word: Confirmation
) -> None:
    event = parse_event(task_event(told, try_number=1))
    fake.runs = [run_event("failed")["data"] | {"dag_run_id": "manual__1"}]
    fake.tasks = [
        task_event(said, try_number=2)["data"] | {"dag_run_id": "manual__1", "id": event.get("ti_id")}
    ]
    assert answer_to(fake, event).confirmation is word
