"""What can become of a run, one DAG each: for the end-to-end tests."""

from datetime import datetime, timedelta, timezone

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, get_current_context

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
NASTY = "no such table: <b>größe</b>\r\nBcc: everybody@example.com"
"""An error text that tries to be markup, a header and non-ASCII at once."""


def succeed() -> str:
    return "done"


def fail() -> None:
    raise ValueError(NASTY)


def fail_once() -> None:
    if get_current_context()["ti"].try_number == 1:
        raise OSError("the first try fails")


def dag(dag_id: str) -> DAG:
    return DAG(dag_id, schedule=None, start_date=START, catchup=False)


with dag("succeeds"):
    PythonOperator(task_id="one", python_callable=succeed) >> EmptyOperator(task_id="two")

with dag("fails"):
    broken = PythonOperator(task_id="broken", python_callable=fail)
    broken >> PythonOperator(task_id="never", python_callable=succeed)

with dag("retries"):
    PythonOperator(
        task_id="shaky", python_callable=fail_once, retries=2, retry_delay=timedelta(seconds=1)
    ) >> PythonOperator(task_id="then", python_callable=succeed)
