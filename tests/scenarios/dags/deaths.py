"""Tasks that die, with their supervisor or without. Only what Airflow 3.0.2 has is used."""

import os
import signal
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, get_current_context


def first_try() -> bool:
    return bool(get_current_context()["ti"].try_number == 1)


def exit_hard() -> None:
    if first_try():
        os._exit(1)


def die() -> None:
    if first_try():
        os.kill(os.getpid(), signal.SIGKILL)


def die_with_supervisor() -> None:
    if first_try():
        os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def dying(dag_id: str, how: Any, retries: int = 0) -> None:
    with DAG(dag_id, schedule=None, catchup=False):
        PythonOperator(task_id="dies", python_callable=how, retries=retries, retry_delay=timedelta(seconds=1))


dying("os_exit", exit_hard)
dying("os_exit_retry", exit_hard, retries=1)
dying("killed_task", die)
dying("killed_task_retry", die, retries=1)
dying("killed_supervisor", die_with_supervisor)
dying("killed_supervisor_retry", die_with_supervisor, retries=1)
