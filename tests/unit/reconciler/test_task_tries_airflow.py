"""Tries that a real Airflow files without a word to anybody: its scheduler dies, the next one begins anew.

The plugin reaches no monitor. Once the reconciler has told what it found, all that the plugin kept comes
late, and nothing that it says of the same tries is told a second time.
"""

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from monitor.clock import utc_now
from monitor.concurrency import end
from monitor.database.engine import Database
from monitor.events.event import parse_event
from tests import wait
from tests.airflow_environment import REPOSITORY
from tests.airflow_server import AirflowServer
from tests.e2e.truth import endings, untold
from tests.ports import free_port
from tests.unit.conftest import make_secret
from tests.unit.reconciler.test_loop_airflow import logged, reconciling
from tests.unit.reconciler_support import report

HERE = Path(__file__).parents[1]
TOLD_SECONDS = 90  # hooks' reports are waited for half a minute

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gate") / "open"


@pytest.fixture(scope="module")
def airflow(gate: Path) -> Iterator[AirflowServer]:
    env = {
        "GATE": str(gate),
        "AIRFLOW__WINDSOCK__MONITOR_URL": f"http://127.0.0.1:{free_port()}",  # nobody is there
        "AIRFLOW__WINDSOCK__INGEST_SECRET": make_secret(),
        "AIRFLOW__WINDSOCK__DEPLOYMENT": "local",
        # What died is found within seconds, not within Airflow's five minutes.
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "6",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    }
    server = AirflowServer(HERE / "interrupted" / "dags", plugins_folder=REPOSITORY / "plugins", env=env)
    server.environment["AIRFLOW__WINDSOCK__SPOOL_DIR"] = str(server.home / "spool")
    with server:
        yield server


@pytest.fixture(scope="module")
def began(airflow: AirflowServer, gate: Path) -> datetime:
    """Since when a scheduler was killed, with all its tasks, and the next one had them done."""
    began = utc_now()
    airflow.wait_for_run("retried", airflow.trigger("retried"))
    run_id = airflow.trigger("waiting")
    running = "SELECT 1 FROM task_instance WHERE run_id = ? AND state = 'running'"
    airflow.wait_until(lambda: len(airflow.query(running, run_id)) >= 2, 60, "two tasks to run")
    airflow.restart("scheduler")
    filed = "SELECT 1 FROM task_instance_history WHERE run_id = ?"
    airflow.wait_until(lambda: len(airflow.query(filed, run_id)) >= 2, 60, "their tries to be filed")
    gate.touch()
    airflow.wait_for_run("waiting", run_id)
    return began


def spooled(airflow: AirflowServer) -> list[dict[str, Any]]:
    """What the plugin kept, oldest first."""
    files = [file for file in (airflow.home / "spool" / "new").iterdir() if file.is_file()]
    return [json.loads(file.read_bytes()) for file in sorted(files)]


def nothing_is_lacking(airflow: AirflowServer, database: Database) -> bool:
    return not untold(endings(airflow), list(logged(database)))


def test_it_tells_what_airflow_took_from_a_dead_scheduler(
    airflow: AirflowServer, began: datetime, database: Database
) -> None:
    async def story() -> None:
        async with reconciling(airflow, database, began) as reconciler:
            running = asyncio.create_task(reconciler.run())
            complete = partial(nothing_is_lacking, airflow, database)
            await asyncio.to_thread(wait.until, complete, "the reconciler to have told it all", TOLD_SECONDS)
            await end([running])
            hooks = [parse_event(event) for event in spooled(airflow)]
            new = await report(database, [hook for hook in hooks if hook.get("task_id")])
            assert [event_id for event_id in new if not event_id.endswith(":running")] == []
            await reconciler.poll()

    asyncio.run(story())
    told = logged(database)
    assert untold(endings(airflow), list(told)) == []
    filed = [event["data"] for event_id, event in told.items() if event_id.startswith("try:")]
    assert {(data["dag_id"], data["try_number"], data["state"]) for data in filed} == {
        ("waiting", 1, "up_for_retry"),
        ("retried", 1, "up_for_retry"),
    }
