"""The reconciler and its client against a real Airflow whose plugin reaches no monitor.

What the plugin could not send lies in its spool: it is the witness that the reconciler, which knows REST
only, gives the same ids to the same changes.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import UUID

import pytest

from monitor.airflow.client import AirflowApi
from monitor.clock import utc_now
from monitor.concurrency import WakeSignal, end
from monitor.database.engine import Database
from monitor.errors import AirflowNotFound, AirflowRefused
from monitor.event_log import read
from monitor.event_log.deployments import ORIGIN
from monitor.event_log.ingest import Ingest, Wakeups
from monitor.observability.metrics import Metrics
from monitor.reconciler import status
from monitor.reconciler.loop import Reconciler
from tests import wait
from tests.airflow_environment import REPOSITORY
from tests.airflow_server import AirflowServer
from tests.ports import free_port
from tests.unit.conftest import make_secret
from tests.unit.notify_support import engine_of

HERE = Path(__file__).parents[1]
MODEL = "file:///models/model.pkl"
NOT_COMPARED = (":running", ":up_for_retry")
"""What REST no longer shows once it is over, or shows under another id."""

T = TypeVar("T")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def airflow() -> Iterator[AirflowServer]:
    plugin = {
        "AIRFLOW__WINDSOCK__MONITOR_URL": f"http://127.0.0.1:{free_port()}",  # nobody is there
        "AIRFLOW__WINDSOCK__INGEST_SECRET": make_secret(),
        "AIRFLOW__WINDSOCK__DEPLOYMENT": "local",
    }
    server = AirflowServer(HERE / "dags", plugins_folder=REPOSITORY / "plugins", env=plugin)
    server.environment["AIRFLOW__WINDSOCK__SPOOL_DIR"] = str(server.home / "spool")
    with server:
        yield server


@dataclass
class Past:
    """Three runs that are over: one succeeded, one failed, one was started by the first one's asset."""

    began: datetime
    good: str
    broken: str
    release: str


@pytest.fixture(scope="module")
def past(airflow: AirflowServer) -> Past:
    began = utc_now()
    good, broken = airflow.trigger("good"), airflow.trigger("broken")
    airflow.wait_for_run("good", good)
    airflow.wait_for_run("broken", broken)
    query = "SELECT run_id FROM dag_run WHERE dag_id = 'release' AND state = 'success'"
    ((release,),) = airflow.wait_until(lambda: airflow.query(query), 60, "the run that the asset starts")
    return Past(began, good, broken, release)


def api_of(airflow: AirflowServer) -> AirflowApi:
    """As a user that may read, and nothing else: no more is needed."""
    return AirflowApi("local", airflow.url, airflow.viewer, airflow.viewer_password, 10, utc_now)


def ask(airflow: AirflowServer, question: Callable[[AirflowApi], Awaitable[T]]) -> T:
    async def story() -> T:
        api = api_of(airflow)
        try:
            return await question(api)
        finally:
            await api.close()

    return asyncio.run(story())


def spooled(airflow: AirflowServer) -> set[str]:
    """The ids that the plugin gave to runs and tasks, read from what it could not send."""
    files = [file for file in (airflow.home / "spool" / "new").iterdir() if file.is_file()]
    events = [json.loads(file.read_bytes()) for file in files]
    told_of = ("airflow.dag_run.", "airflow.task_instance.")
    return {str(event["id"]) for event in events if event["type"].startswith(told_of)}


@asynccontextmanager
async def reconciling(
    airflow: AirflowServer, database: Database, since: datetime
) -> AsyncIterator[Reconciler]:
    wakes, metrics = Wakeups(WakeSignal(), WakeSignal(), {"local": WakeSignal()}), Metrics()
    ingest = Ingest(database, engine_of().notify_all, wakes, metrics, utc_now)
    api = api_of(airflow)
    await database.write(lambda c: status.save_watermarks(c, "local", {ORIGIN: since}, utc_now()))
    writer = asyncio.create_task(ingest.run())
    try:
        yield Reconciler(api, database, ingest, wakes.reconcilers["local"], metrics, utc_now, interval=1)
    finally:
        writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writer
        await api.close()


def logged(database: Database) -> dict[str, dict[str, Any]]:
    page = database.read_now(lambda connection: read.read_after(connection, 0, 1000))
    return {event["id"]: event for event in (json.loads(row.body) for row in page.events)}


def settled(ids: Iterable[str]) -> set[str]:
    return {i for i in ids if not i.endswith(NOT_COMPARED)}


def holds_all(airflow: AirflowServer, database: Database) -> bool:
    """Whether the log has all that the plugin saw, and the two that only Airflow's database knows."""
    told = settled(logged(database))
    return settled(spooled(airflow)) <= told and len(told) >= len(settled(spooled(airflow))) + 2


def test_it_tells_what_no_plugin_reported_under_the_plugins_own_ids(
    airflow: AirflowServer, past: Past, database: Database
) -> None:
    async def story() -> None:
        async with reconciling(airflow, database, past.began) as reconciler:
            running = asyncio.create_task(reconciler.run())
            complete = partial(holds_all, airflow, database)
            await asyncio.to_thread(wait.until, complete, "the reconciler to have told it all", 60)
            await end([running])
            before = logged(database)
            await reconciler.poll()
            assert logged(database) == before
            assert reconciler.status.last_error is None

    asyncio.run(story())
    told = logged(database)
    witnessed = settled(spooled(airflow))
    assert witnessed - set(told) == set()
    unseen = {told[i]["type"]: told[i] for i in settled(told) - witnessed}
    assert set(unseen) == {
        "airflow.task_instance.upstream_failed",
        "airflow.asset.updated",
    }  # hooks have neither
    asset = unseen["airflow.asset.updated"]["data"]
    assert asset["extra"] == {"accuracy": 0.98}
    assert asset["created_dagruns"] == [{"dag_id": "release", "run_id": past.release}]
    tasks = {event["subject"] for event in told.values() if event["type"].startswith("airflow.task_instance")}
    assert {f"good/{past.good}/score[0]", f"good/{past.good}/score[1]"} <= tasks


def test_a_run_its_tasks_and_a_failed_trys_log(airflow: AirflowServer, past: Past) -> None:
    async def question(api: AirflowApi) -> None:
        run = await api.dag_run("broken", past.broken)
        assert (run["dag_run_id"], run["state"]) == (past.broken, "failed")
        (failed,) = await api.task_instances("broken", past.broken, ["failed"])
        assert (failed["task_id"], failed["try_number"]) == ("load", 2)
        assert len(await api.task_instances("broken", past.broken)) == 2
        for number in (1, 2):
            tail = await api.log_tail("broken", past.broken, "load", -1, number, 5)
            assert len(tail) == 5
            assert tail[-1] == "ValueError: no such table: <b>größe</b>"
        whole = await api.log_tail("broken", past.broken, "load", -1, 2, 1000)
        assert sum("row 49" in line for line in whole) == 1
        with pytest.raises(AirflowNotFound):
            await api.dag_run("broken", "no/such+run")
        with pytest.raises(AirflowNotFound):
            await api.log_tail("broken", past.broken, "load", -1, 9, 5)

    ask(airflow, question)


def test_what_changed_in_a_time(airflow: AirflowServer, past: Past) -> None:
    async def question(api: AirflowApi) -> None:
        (runs,) = [page async for page in api.runs_updated(past.began)]
        assert {row["dag_id"] for row in runs.rows} == {"good", "broken", "release"}
        assert abs(runs.moment - utc_now()) < timedelta(minutes=1)
        assert [page.total async for page in api.runs_updated(past.began, past.began)] == [0]
        (skipped,) = [page async for page in api.task_instances_updated(past.began, None, ["skipped"])]
        assert [row["task_id"] for row in skipped.rows] == ["skip"]
        (assets,) = [page async for page in api.asset_events(past.began)]
        assert [row["uri"] for row in assets.rows] == [MODEL]

    ask(airflow, question)


def test_signing_in_and_what_one_may_read(airflow: AirflowServer, past: Past) -> None:
    async def question(api: AirflowApi) -> None:
        token = await api.sign_in(airflow.username, airflow.password)
        assert await api.readable_dags(token) == {"good", "broken", "release"}
        with pytest.raises(AirflowRefused):
            await api.sign_in(airflow.username, "wrong")
        with pytest.raises(AirflowRefused):
            await api.readable_dags(token[:-4] + "AAAA")
        assert (await api.version()).startswith("3.")
        assert (await api.health())["scheduler"]["status"] == "healthy"

    ask(airflow, question)


def test_an_airflow_that_was_away_is_caught_up_with(
    airflow: AirflowServer, past: Past, database: Database
) -> None:
    async def story() -> None:
        async with reconciling(airflow, database, past.began) as reconciler:
            airflow.kill("api-server")
            await reconciler.poll()
            assert "no answer" in str(reconciler.status.last_error)
            await asyncio.to_thread(airflow.start_component, "api-server")
            await asyncio.to_thread(airflow.wait_until, airflow.healthy, 60, "the api-server")
            await reconciler.poll()
            assert reconciler.status.last_error is None

    asyncio.run(story())
    assert settled(spooled(airflow)) <= set(logged(database))


def test_the_runs_of_another_time_and_what_is_set_by_hand_in_them(
    airflow: AirflowServer, past: Past, database: Database
) -> None:
    """Airflow's own queries at both sides of what is recent: a run due a year ago, and its task later."""
    began = utc_now()
    due = {"logical_date": None, "run_after": (began - timedelta(days=400)).isoformat()}
    run_id = airflow.api("POST", "/dags/broken/dagRuns", due)["dag_run_id"]
    airflow.wait_for_run("broken", run_id)
    ((ti_id,),) = airflow.query(
        "SELECT id FROM task_instance WHERE run_id = ? AND task_id = 'train'", run_id
    )  # upstream_failed
    task = f"task:{UUID(str(ti_id))}"

    async def story() -> None:
        async with reconciling(airflow, database, began) as reconciler:
            complete = partial(_tells, database, f"broken/{run_id}", f"{task}:upstream_failed")
            await _poll_until(reconciler, complete)
            path = f"/dags/broken/dagRuns/{quote(run_id, safe='')}/taskInstances/train"
            await asyncio.to_thread(airflow.api, "PATCH", path, {"new_state": "success"})
            await _poll_until(reconciler, partial(_tells, database, f"{task}:success"))

    asyncio.run(story())


def _tells(database: Database, *wanted: str) -> bool:
    """Whether the log has an event of each of these ids or subjects."""
    told = logged(database)
    return set(wanted) <= {*told, *(event["subject"] for event in told.values())}


async def _poll_until(reconciler: Reconciler, complete: Callable[[], bool]) -> None:
    running = asyncio.create_task(reconciler.run())
    try:
        await asyncio.to_thread(wait.until, complete, "the reconciler to have told it", 30)
    finally:
        await end([running])
