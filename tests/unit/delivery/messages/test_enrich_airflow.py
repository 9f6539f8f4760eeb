"""A story from a real Airflow: what its REST says of a DAG's recent runs, their conf, logs and assets."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor.airflow.client import AirflowApi
from monitor.clock import utc_now
from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.delivery.messages.enrich import build_message_context
from monitor.delivery.messages.mime import Envelope
from monitor.delivery.messages.model import MessageContext, Metric
from monitor.delivery.messages.renderer import Renderer
from monitor.events.from_airflow import run_event
from monitor.notifications.outbox.records import NotificationKind
from tests.airflow_server import AirflowServer
from tests.unit.delivery.messages.test_enrich import told as a_telling

DAG = "moody"
SOURCE = """
import logging
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Asset, Variable, get_current_context

MODEL = Asset(name="m", uri="x-test://m")

def train(*, outlet_events):
    conf = get_current_context()["dag_run"].conf or {}
    logging.getLogger("rows").info("the secret is %s", Variable.get("db_password"))
    if conf.get("fail"):
        raise ValueError("no such table")
    outlet_events[MODEL].extra = {"accuracy": conf.get("accuracy", 0.9)}

with DAG("moody", schedule=None):
    PythonOperator(task_id="train", python_callable=train, outlets=[MODEL])
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Of one kind: nothing is asked of it here."""
    database = Database(f"sqlite:///{tmp_path / 'windsock.db'}")
    migrate(database)
    yield database
    database.close()


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowServer]:
    folder: Path = tmp_path_factory.mktemp("dags")
    (folder / "moody.py").write_text(SOURCE)
    with AirflowServer(folder, env={"AIRFLOW_VAR_DB_PASSWORD": "s3cr3t-value"}) as airflow:
        airflow.wait_for_dag(DAG)
        yield airflow


@pytest.fixture(scope="module")
def runs(airflow: AirflowServer) -> list[str]:
    """Good, better, failed; one after the other."""
    confs: list[dict[str, Any]] = [
        {"accuracy": 0.9},
        {"accuracy": 0.95, "token": "one"},
        {"fail": True, "token": "two"},
    ]
    done = []
    for conf in confs:
        done.append(airflow.trigger(DAG, conf=conf))
        airflow.wait_for_run(DAG, done[-1])
    return done


def told(database: Database, airflow: AirflowServer, run_id: str, kind: NotificationKind) -> MessageContext:
    event = run_event("local", airflow.run(DAG, run_id), utc_now())
    assert event is not None

    async def story() -> MessageContext:
        api = AirflowApi("local", airflow.url, airflow.username, airflow.password, 30, utc_now)
        try:
            return await build_message_context(database, api, a_telling([event], kind))
        finally:
            await api.close()

    return asyncio.run(story())


async def version(airflow: AirflowServer) -> tuple[int, ...]:
    api = AirflowApi("local", airflow.url, airflow.username, airflow.password, 30, utc_now)
    try:
        return tuple(int(part) for part in (await api.version()).split(".")[:2])
    finally:
        await api.close()


def test_a_failure_against_the_last_good_run(
    database: Database, airflow: AirflowServer, runs: list[str]
) -> None:
    story = told(database, airflow, runs[2], NotificationKind.OPENED)
    assert [one.run_id for one in story.history] == runs
    assert [one.state for one in story.history] == ["success", "success", "failed"]
    assert story.last_good
    assert story.last_good.run_id == runs[1]
    changes = {change.label: (change.before, change.now, change.note) for change in story.changes}
    assert changes.pop("Took", None) is not None
    assert changes == {
        "conf.accuracy": ("0.95", None, "gone"),
        "conf.fail": (None, "true", "new"),
        "conf.token": ("***", "***", "changed"),
    }
    [task] = story.failed
    assert task.error
    log = "\n".join(task.error.lines)
    assert "ValueError: no such table" in log
    if asyncio.run(version(airflow)) >= (3, 1):  # 3.0 does not mask a Variable
        assert "the secret is ***" in log
        assert "s3cr3t-value" not in log


def test_a_success_and_how_its_metrics_moved(
    database: Database, airflow: AirflowServer, runs: list[str]
) -> None:
    story = told(database, airflow, runs[1], NotificationKind.SUCCESS)
    assert [one.run_id for one in story.history] == runs[:2], "what began later is not of its past"
    assert story.metrics == (Metric("Accuracy", "0.9500", "+0.0500"),)
    assert [asset.uri for asset in story.assets] == ["x-test://m"]
    mail = Renderer("a@example.com", "http://m", {"local": airflow.url}, utc_now).render(
        "run_success", story, Envelope("<1@example.com>", "a@example.com", "r")
    )
    assert mail.problem is None
    assert "✓✓" in mail.text
