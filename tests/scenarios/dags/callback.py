"""Alone in its file: Airflow 3.0.2 cannot process a file again once such a task was lost."""

import os
import signal
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG


def die_with_supervisor() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def called_back(context: Any) -> None:
    pass


with DAG("killed_supervisor_callback", schedule=None, catchup=False):
    PythonOperator(task_id="dies", python_callable=die_with_supervisor, on_failure_callback=called_back)
