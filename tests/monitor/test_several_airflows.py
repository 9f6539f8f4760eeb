"""One monitor for two Airflows: each has its own DAGs, and its own word on who may read them."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from monitor.settings import AirflowSettings, Settings
from tests.monitor.conftest import FakeClock, make_secret
from tests.monitor.web_support import (
    MONITOR_USER,
    Served,
    SignInAirflow,
    serving,
    try_to_sign_in,
    with_sign_in,
)
from tests.sample import run_event

ALICE = ("alice", "alice's secret")
BOB = ("bob", "bob's secret")


@pytest.fixture
def emea() -> Iterator[SignInAirflow]:
    with SignInAirflow().serving() as airflow:
        airflow.add(*ALICE, ["payroll"])
        airflow.add(*BOB, ["payroll"])
        airflow.add(*MONITOR_USER, ["payroll"])
        yield airflow


@pytest.fixture
def local() -> Iterator[SignInAirflow]:
    with SignInAirflow().serving() as airflow:
        airflow.add(*ALICE, ["etl"])
        yield airflow


@pytest.fixture
def monitor(
    settings: Settings, local: SignInAirflow, emea: SignInAirflow, clock: FakeClock
) -> Iterator[Served]:
    user, password = MONITOR_USER
    other = AirflowSettings(
        url=emea.url,
        username=user,
        password=SecretStr(password),
        ingest_secret=(SecretStr(make_secret()),),
    )
    both = with_sign_in(settings, local).model_copy(update={"airflows": {"emea": other}})
    with serving(both, clock) as monitor:
        # The same name in both: who may read the one must not see the other.
        for deployment in ("local", "emea"):
            for dag_id in ("etl", "payroll"):
                run = run_event(dag_id=dag_id)
                monitor.post([{**run, "source": f"/airflow/{deployment}"}])
        yield monitor


def seen(monitor: Served) -> set[tuple[str, str]]:
    answer = monitor.client.get("/api/v1/runs").raise_for_status().json()
    return {(run["deployment"], run["dag_id"]) for run in answer["runs"]}


def test_someone_whom_both_know_sees_what_each_shows(monitor: Served) -> None:
    assert try_to_sign_in(monitor.client, *ALICE).status_code == 303
    assert seen(monitor) == {("local", "etl"), ("emea", "payroll")}


def test_someone_whom_one_knows_sees_what_that_one_shows(monitor: Served) -> None:
    assert try_to_sign_in(monitor.client, *BOB).status_code == 303
    assert seen(monitor) == {("emea", "payroll")}


def test_one_that_is_away_takes_nothing_from_the_other(monitor: Served, emea: SignInAirflow) -> None:
    emea.away = True
    assert try_to_sign_in(monitor.client, *ALICE).status_code == 303
    assert seen(monitor) == {("local", "etl")}


def test_nobody_is_signed_in_whom_none_knows(monitor: Served, emea: SignInAirflow) -> None:
    assert try_to_sign_in(monitor.client, "alice", "a guess").status_code == 401
    emea.away = True
    assert try_to_sign_in(monitor.client, "alice", "a guess").status_code == 401


def test_a_bearer_token_is_shown_to_the_first_airflow_only(
    monitor: Served, local: SignInAirflow, emea: SignInAirflow
) -> None:
    asked = emea.asked
    headers = {"Authorization": f"Bearer {local.token('alice')}"}

    answer = monitor.client.get("/api/v1/runs", headers=headers).json()

    assert {run["dag_id"] for run in answer["runs"]} == {"etl"}
    assert emea.asked == asked
