"""Sign-in against a real Airflow under FAB, whose roles let a user read single DAGs."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from monitor.settings import Settings
from monitor.web.auth.permissions import RIGHTS_SECONDS
from tests.airflow_environment import ENVIRONMENT
from tests.airflow_server import AirflowServer
from tests.sample import run_event
from tests.unit.conftest import FakeClock
from tests.unit.web_support import FeedReader, Served, follows_the_rights, hidden, serving, try_to_sign_in

DAGS = ("etl", "payroll", "training")
FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
PREPARE_SECONDS = 300.0  # FAB's tables and its roles, on a busy machine

pytestmark = pytest.mark.slow


class FabAirflow(AirflowServer):
    """An Airflow of which `viewer` reads every DAG and `analyst` one."""

    analyst = ("analyst", "analyst's secret")

    def let_analyst_read(self, *dags: str) -> None:
        """By FAB's own API, while everything runs."""
        login = {"username": self.username, "password": self.password}
        token = httpx.post(f"{self.url}/auth/token", json=login).json()["access_token"]
        actions = [{"action": {"name": "can_read"}, "resource": {"name": f"DAG:{dag_id}"}} for dag_id in dags]
        httpx.patch(
            f"{self.url}/auth/fab/v1/roles/Analyst",
            json={"name": "Analyst", "actions": actions},
            headers={"Authorization": f"Bearer {token}"},
        ).raise_for_status()

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
            [ENVIRONMENT / "bin" / "python", Path(__file__).parents[2] / "fab_users.py", wanted],
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


@pytest.fixture
def monitor(settings: Settings, airflow: FabAirflow, clock: FakeClock) -> Iterator[Served]:
    at_airflow = {
        "auth": "airflow",
        "airflow_url": airflow.url,
        "airflow_username": airflow.viewer,
        "airflow_password": SecretStr(airflow.viewer_password),
    }
    airflow.let_analyst_read("etl")
    with serving(settings.model_copy(update=at_airflow), clock) as monitor:
        monitor.post([run_event("running", dag_id) for dag_id in DAGS])
        yield monitor


def seen(client: httpx.Client, headers: dict[str, str] | None = None) -> set[str]:
    return {run["dag_id"] for run in client.get("/api/v1/runs", headers=headers).json()["runs"]}


def make_token(browser: httpx.Client) -> dict[str, str]:
    csrf = {"X-CSRF-Token": hidden("csrf", browser.get("/", headers={"Accept": "text/html"}).text)}
    made = browser.post("/api/v1/tokens", json={"name": "t", "scopes": ["read"]}, headers=csrf).json()
    return {"Authorization": f"Bearer {made['secret']}"}


def test_each_of_fabs_users_sees_what_the_role_lets_read(monitor: Served, airflow: FabAirflow) -> None:
    name, password = airflow.analyst
    with httpx.Client(base_url=monitor.url) as browser:
        assert try_to_sign_in(browser, name, "wrong").status_code == 401
        assert try_to_sign_in(browser, airflow.viewer, airflow.viewer_password).status_code == 303
        assert seen(browser) == set(DAGS)
        assert browser.get("/settings", headers={"Accept": "text/html"}).status_code == 200

        assert try_to_sign_in(browser, name, password).status_code == 303
        assert seen(browser) == {"etl"}
        assert browser.get("/settings", headers={"Accept": "text/html"}).status_code == 403
        assert seen(monitor.client, make_token(browser)) == {"etl"}

        login = {"username": name, "password": password}
        token = httpx.post(f"{airflow.url}/auth/token", json=login).json()["access_token"]
        assert seen(monitor.client, {"Authorization": f"Bearer {token}"}) == {"etl"}


def test_what_fab_takes_away_is_gone_from_pages_feeds_and_tokens(
    monitor: Served, airflow: FabAirflow, clock: FakeClock
) -> None:
    name, password = airflow.analyst
    with httpx.Client(base_url=monitor.url) as browser:
        assert try_to_sign_in(browser, name, password).status_code == 303
        token = make_token(browser)
        cookie = {"Cookie": f"windsock_session={browser.cookies['windsock_session']}"}
        with FeedReader(monitor.url, headers=cookie) as reader:
            monitor.post([run_event("success", "etl")])
            assert reader.wait_for(1)[0]["data"]["dag_id"] == "etl"
            airflow.let_analyst_read("payroll")
            clock.forward(RIGHTS_SECONDS)
            assert follows_the_rights(monitor, reader, gone="etl", come="payroll")
        assert seen(browser) == {"payroll"}
        assert seen(monitor.client, token) == {"etl"}  # as its creator saw when it was made
        assert try_to_sign_in(browser, name, password).status_code == 303
        assert seen(monitor.client, token) == set()
