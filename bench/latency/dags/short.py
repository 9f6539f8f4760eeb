"""Many short tasks, for state changes to measure."""

from datetime import datetime, timezone

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG


def nothing() -> None:
    """As short as a task can be."""


with DAG("short", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), catchup=False):
    for number in range(4):
        PythonOperator(task_id=f"task_{number}", python_callable=nothing)
