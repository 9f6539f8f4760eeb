"""What a mail asks Airflow of a DAG's past: the questions as they go over the network."""

from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.responses import JSONResponse

from monitor.errors import AirflowError
from tests.unit.airflow.test_client import ask
from tests.unit.airflow_api_fake import FakeAirflow, asset_row, run_row, serving
from tests.unit.conftest import NOW, FakeClock


@pytest.fixture
def fake(clock: FakeClock) -> Iterator[FakeAirflow]:
    with serving(FakeAirflow(clock)) as fake:
        yield fake


def last_question(fake: FakeAirflow) -> tuple[str, dict[str, list[str]]]:
    asked = urlsplit(fake.asked[-1])
    return asked.path, parse_qs(asked.query)


def test_the_latest_runs_of_a_dag_are_one_question(fake: FakeAirflow) -> None:
    fake.runs = [run_row(f"run_{number}", NOW - timedelta(hours=number)) for number in range(9)]
    rows = ask(fake, lambda api: api.runs_of("a b", NOW, ("success", "failed"), 4))
    assert len(rows) == 4
    assert last_question(fake) == (
        "/api/v2/dags/a%20b/dagRuns",
        {
            "order_by": ["-start_date"],
            "start_date_lte": ["2026-11-22T10:00:00.000000Z"],
            "state": ["success", "failed"],
            "limit": ["4"],
            "offset": ["0"],
        },
    )


def test_the_asset_events_of_a_run_are_one_question(fake: FakeAirflow) -> None:
    fake.assets = [asset_row(number, NOW) for number in range(9)]
    rows = ask(fake, lambda api: api.asset_events_of("etl", "manual__1+2", 4))
    assert len(rows) == 4
    path, asked = last_question(fake)
    assert path == "/api/v2/assets/events"
    assert (asked["source_dag_id"], asked["source_run_id"]) == (["etl"], ["manual__1+2"])


def test_an_answer_without_runs_is_an_error(fake: FakeAirflow) -> None:
    fake.failures = [("/dagRuns", JSONResponse({"dag_runs": None}))]
    with pytest.raises(AirflowError, match="no list of objects 'dag_runs'"):
        ask(fake, lambda api: api.runs_of("etl", NOW, (), 4))
