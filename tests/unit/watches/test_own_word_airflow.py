"""What only a real Airflow shows: its word on runs that are deleted, or whose ids no path takes, on DAGs that
it pauses, on tests, and on runs that wait for a person."""

import asyncio
import subprocess
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from monitor.airflow.client import AirflowApi
from monitor.clock import utc_now
from monitor.errors import AirflowError, AirflowNotFound, AirflowUnaddressable, AirflowUnreachable
from monitor.events.from_airflow import run_type_of
from monitor.events.from_watches import Bound
from monitor.rules.model import Watch
from monitor.watches.auto_paused import AutoPaused
from monitor.watches.observation import ActiveRun
from monitor.watches.runs import HumanWaits, LongRun
from tests.airflow_environment import AIRFLOW, REPOSITORY
from tests.airflow_server import ENDED, AirflowServer
from tests.ports import free_port

pytestmark = pytest.mark.slow

HERE = Path(__file__).parents[1]
SLASHES = "media/2026/clip.wav"
T = TypeVar("T")


@pytest.fixture(scope="module")
def airflow() -> Iterator[AirflowServer]:
    env = {"AIRFLOW__SCHEDULER__ALLOWED_RUN_ID_PATTERN": "^.+$"}
    with AirflowServer(HERE / "own_word" / "dags", env=env, processes=4) as server:
        for dag_id in ("plain", "sleeper", "failing"):
            server.wait_for_dag(dag_id)
        yield server


def ask(
    airflow: AirflowServer,
    question: Callable[[AirflowApi], Awaitable[T]],
    admin: bool = False,
    path: str = "",
) -> T:
    who = (airflow.username, airflow.password) if admin else (airflow.viewer, airflow.viewer_password)

    async def story() -> T:
        api = AirflowApi("local", airflow.url + path, *who, 60, utc_now)
        try:
            return await question(api)
        finally:
            await api.close()

    return asyncio.run(story())


def test_a_run_with_slashes_in_its_id(airflow: AirflowServer) -> None:
    airflow.trigger("plain", SLASHES)

    def ended() -> dict[str, Any] | None:
        with suppress(AirflowUnreachable):  # its SQLite is busy with the scheduler
            run = ask(airflow, lambda api: api.dag_run("plain", SLASHES))
            return run if run["state"] in ENDED else None
        return None

    # It fails on Airflow 3.3: its own API for tasks takes no such run id for what a task returns.
    run = airflow.wait_until(ended, 60, "the end of the run")
    assert run["dag_run_id"] == SLASHES
    (task,) = ask(airflow, lambda api: api.task_instances("plain", SLASHES, [run["state"]]))
    assert (task["task_id"], task["dag_run_id"]) == ("work", SLASHES)
    assert ask(airflow, lambda api: api.task_instances("plain", SLASHES, ["skipped"])) == []
    with pytest.raises(AirflowUnaddressable):
        ask(airflow, lambda api: api.tries("plain", SLASHES, "work", -1))
    for lookup in (AirflowApi.dag_run, AirflowApi.task_instances):
        with pytest.raises(AirflowNotFound):
            ask(airflow, lambda api, lookup=lookup: lookup(api, "plain", "no/such"))  # type: ignore[misc]


def test_a_run_and_a_dag_that_are_deleted(airflow: AirflowServer) -> None:
    run_id = airflow.trigger("sleeper")
    airflow.wait_for_run("sleeper", run_id, ("running",))
    assert ask(airflow, lambda api: api.dag_run("sleeper", run_id))["state"] == "running"
    airflow.api("PATCH", f"/dags/sleeper/dagRuns/{run_id}", {"state": "failed"})  # 3.3 deletes none that runs
    airflow.api("DELETE", f"/dags/sleeper/dagRuns/{run_id}")
    for lookup in (AirflowApi.dag_run, AirflowApi.task_instances):
        with pytest.raises(AirflowNotFound):
            ask(airflow, lambda api, lookup=lookup: lookup(api, "sleeper", run_id))  # type: ignore[misc]
    with pytest.raises(AirflowNotFound):
        ask(airflow, lambda api: api.dag("none"))
    with pytest.raises(AirflowError, match="/wrong"):
        ask(airflow, lambda api: api.dag_run("plain", run_id), path="/wrong")


def test_a_run_of_dags_test_says_so_to_hooks_and_to_the_rest_api(
    airflow: AirflowServer, tmp_path: Path
) -> None:
    env = airflow.environment | {
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__WINDSOCK__SPOOL_DIR": str(tmp_path / "spool"),
        "AIRFLOW__WINDSOCK__MONITOR_URL": f"http://127.0.0.1:{free_port()}",  # nobody: all is kept
        "AIRFLOW__WINDSOCK__INGEST_SECRET": "whsec_" + b64encode(bytes(24)).decode(),
    }
    for _ in range(3):  # its SQLite is busy with the scheduler, which a task's write may not outwait
        tested = subprocess.run(
            [AIRFLOW, "dags", "test", "plain"], env=env, capture_output=True, text=True, timeout=120
        )
        if "database is locked" not in tested.stdout + tested.stderr:
            break
    assert tested.returncode == 0, tested.stdout[-4000:] + tested.stderr[-2000:]
    runs = airflow.api("GET", "/dags/plain/dagRuns")["dag_runs"]
    *_, run = (run for run in runs if run["triggered_by"] == "test")
    assert (run_type_of(run), run["run_type"]) == ("test", "manual")
    kept = [path.read_text() for path in (tmp_path / "spool" / "new").iterdir()]
    assert any(run["dag_run_id"] in text and '"run_type":"test"' in text for text in kept), kept


def test_a_dag_that_airflow_pauses_itself(airflow: AirflowServer) -> None:
    for _ in range(2):
        airflow.wait_for_run("failing", airflow.trigger("failing"))
    airflow.wait_until(lambda: airflow.api("GET", "/dags/failing")["is_paused"], 30, "the pause")

    def cause(admin: bool) -> Any:
        return ask(airflow, lambda api: AutoPaused(api)._cause("failing", utc_now()), admin)

    assert (cause(admin=True).failed_runs, cause(admin=True).is_certain) == (2, True)
    assert cause(admin=False).failed_runs == 2


def test_a_run_that_waits_for_a_person(airflow: AirflowServer) -> None:
    if not ask(airflow, lambda api: HumanWaits(api)._has_questions()):
        pytest.skip("Airflow 3.0 has no human in the loop")
    airflow.wait_for_dag("human")
    run_id = airflow.trigger("human")
    airflow.wait_until(
        lambda: ask(airflow, lambda api: api.human_questions("human", run_id)), 60, "a question"
    )
    start = utc_now() - timedelta(hours=1)
    run = ActiveRun("human", run_id, "manual", start, start, start)
    each = LongRun(run, start, Bound(timedelta(minutes=1)), Watch(name="stuck", watch="stuck"), False)

    def waited(after: timedelta) -> timedelta:
        found = ask(airflow, lambda api: HumanWaits(api).measure([each], utc_now() + after))
        length = found[each.key]
        assert length is not None
        return length

    assert waited(timedelta(hours=2)) >= timedelta(hours=2)
    answer = {"chosen_options": ["Approve"], "params_input": {}}
    airflow.api("PATCH", f"/dags/human/dagRuns/{run_id}/taskInstances/ask/-1/hitlDetails", answer)
    assert waited(timedelta(hours=2)) < timedelta(minutes=5)
