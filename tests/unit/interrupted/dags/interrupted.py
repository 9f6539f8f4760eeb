"""Tasks that wait for a file, so that a scheduler can be killed amid them, and one that fails once."""

import os
import time
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, get_current_context

GATE = Path(os.environ["GATE"])


def wait(part: int) -> int:
    while not GATE.exists():
        time.sleep(0.1)
    return part


def fail_once() -> None:
    if get_current_context()["ti"].try_number == 1:
        raise ValueError("not yet")


with DAG("waiting", schedule=None):
    PythonOperator.partial(task_id="wait", python_callable=wait).expand(op_args=[[1], [2], [3], [4]])

with DAG("retried", schedule=None):
    PythonOperator(
        task_id="fail_once", python_callable=fail_once, retries=1, retry_delay=timedelta(seconds=0)
    )
