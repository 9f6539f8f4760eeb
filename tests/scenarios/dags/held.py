"""Runs that people and killed services meddle with: some hold until the test lets them go."""

from datetime import timedelta
from typing import Any

import signals
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, get_current_context

ENDED = (
    *("task_marked_failed", "task_marked_skipped", "task_marked_twice", "task_set_back"),
    *("run_marked_twice", "run_set_back", "run_queued_again", "run_cleared", "task_cleared", "paused"),
)
HELD = ("task_marked_running", "run_marked_success", "run_marked_failed")
IN_FLIGHT = ("killed_scheduler", "killed_scheduler_and_tasks", "killed_api_server")


def succeed() -> None:
    pass


def hold() -> None:
    """Until the test gives the DAG's signal."""
    signals.await_signal(f"{get_current_context()['dag'].dag_id}-goes-on")


def two(dag_id: str, first: Any, **settings: Any) -> None:
    with DAG(dag_id, schedule=None, catchup=False):
        PythonOperator(task_id="one", python_callable=first, **settings) >> PythonOperator(
            task_id="two", python_callable=succeed
        )


for name in ENDED:
    two(name, succeed)
for name in HELD:
    two(name, hold)
for name in IN_FLIGHT:
    two(name, hold, retries=1, retry_delay=timedelta(seconds=1))
