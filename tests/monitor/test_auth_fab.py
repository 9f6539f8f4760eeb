"""Sign-in against a real Airflow under FAB, whose roles let a user read single DAGs."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from monitor.settings import Settings
from tests.airflow_environment import ENVIRONMENT
from tests.airflow_server import AirflowServer
from tests.monitor.web_support import hidden, serving, try_to_sign_in
from tests.sample import run_event

DAGS = ("etl", "payroll", "training")
FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
PREPARE_SECONDS = 300.0  # FAB's tables and its roles, on a busy machine

pytestmark = pytest.mark.slow


class FabAirflow(AirflowServer):
    """An Airflow of which `viewer` reads every DAG and `analyst` one."""

    analyst = ("analyst", "analyst's secret")

    def prepare(self) -> None:
        name, password = self.analyst
        users = {
            self.username: [self.password, "Admin"],
            self.viewer: [self.viewer_password, "Viewer"],
            name: [password, "Analyst"],
        }
        wanted = self.home / "wanted.json"
        wanted.write_text(json.dumps({"users": users, "roles": {"Analyst": ["etl"]}}))
        made = subprocess.run(
            [ENVIRONMENT / "bin" / "python", Path(__file__).parent / "fab_users.py", wanted],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PREPARE_SECONDS,
        )
        assert made.returncode == 0, made.stdout + made.stderr


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabAirflow]:
    folder: Path = tmp_path_factory.mktemp("dags")
    lines = "\n".join(f"{name} = DAG('{name}', schedule=None)" for name in DAGS)
    (folder / "three.py").write_text(f"from airflow.sdk import DAG\n{lines}\n")
    airflow = FabAirflow(folder, env={"AIRFLOW__CORE__AUTH_MANAGER": FAB})
    with airflow:
        for name in DAGS:
            airflow.wait_for_dag(name)
        yield airflow


def test_each_of_fabs_users_sees_what_the_role_lets_read(settings: Settings, airflow: FabAirflow) -> None:
    at_airflow = settings.model_copy(
        update={
            "auth": "airflow",
            "airflow_url": airflow.url,
            "airflow_username": airflow.viewer,
            "airflow_password": SecretStr(airflow.viewer_password),
        }
    )
    name, password = airflow.analyst
    with serving(at_airflow) as monitor, httpx.Client(base_url=monitor.url) as browser:
        monitor.post([run_event("running", dag_id) for dag_id in DAGS])

        def seen(client: httpx.Client, headers: dict[str, str] | None = None) -> set[str]:
            runs = client.get("/api/v1/runs", headers=headers).json()["runs"]
            return {run["dag_id"] for run in runs}

        assert try_to_sign_in(browser, name, "wrong").status_code == 401
        assert try_to_sign_in(browser, airflow.viewer, airflow.viewer_password).status_code == 303
        assert seen(browser) == set(DAGS)
        assert browser.get("/settings", headers={"Accept": "text/html"}).status_code == 200

        assert try_to_sign_in(browser, name, password).status_code == 303
        assert seen(browser) == {"etl"}
        assert browser.get("/settings", headers={"Accept": "text/html"}).status_code == 403
        csrf = {"X-CSRF-Token": hidden("csrf", browser.get("/", headers={"Accept": "text/html"}).text)}
        made = browser.post("/api/v1/tokens", json={"name": "t", "scopes": ["read"]}, headers=csrf).json()
        assert seen(monitor.client, {"Authorization": f"Bearer {made['secret']}"}) == {"etl"}

        login = {"username": name, "password": password}
        token = httpx.post(f"{airflow.url}/auth/token", json=login).json()["access_token"]
        assert seen(monitor.client, {"Authorization": f"Bearer {token}"}) == {"etl"}
