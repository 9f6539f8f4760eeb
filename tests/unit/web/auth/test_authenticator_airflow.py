"""Sign-in against a real Airflow: its users, its passwords, its tokens, its DAGs."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from monitor.settings import Settings
from tests.airflow_server import AirflowServer
from tests.sample import run_event
from tests.unit.web_support import serving, try_to_sign_in

DAG = "signed_in"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowServer]:
    folder: Path = tmp_path_factory.mktemp("dags")
    (folder / "one.py").write_text(f"from airflow.sdk import DAG\ndag = DAG('{DAG}', schedule=None)\n")
    with AirflowServer(folder) as airflow:
        airflow.wait_for_dag(DAG)
        yield airflow


def test_a_viewer_signs_in_and_sees_the_dags_that_airflow_shows(
    settings: Settings, airflow: AirflowServer
) -> None:
    at_airflow = settings.model_copy(
        update={
            "auth": "airflow",
            "airflow_url": airflow.url,
            "airflow_username": airflow.username,
            "airflow_password": SecretStr(airflow.password),
        }
    )
    with serving(at_airflow) as monitor, httpx.Client(base_url=monitor.url) as browser:
        # The viewer reads every DAG, and so what the log has of DAGs that this Airflow no longer has.
        monitor.post([run_event("running", DAG)])
        assert try_to_sign_in(browser, airflow.viewer, "wrong").status_code == 401
        assert try_to_sign_in(browser, "nobody", airflow.viewer_password).status_code == 401
        assert try_to_sign_in(browser, airflow.viewer, airflow.viewer_password).status_code == 303
        assert [run["dag_id"] for run in browser.get("/api/v1/runs").json()["runs"]] == [DAG]
        login = {"username": airflow.viewer, "password": airflow.viewer_password}
        token = httpx.post(f"{airflow.url}/auth/token", json=login).json()["access_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        found = monitor.client.get("/api/v1/runs", headers=bearer).json()["runs"]
        assert [run["dag_id"] for run in found] == [DAG]
        forged = {"Authorization": f"Bearer {token[:-6]}AAAAAA"}
        assert monitor.client.get("/api/v1/runs", headers=forged).status_code == 401
