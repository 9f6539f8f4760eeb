"""Many short ways for a run to go, one DAG each: the load that the faults meet."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator, ShortCircuitOperator
from airflow.sdk import DAG, get_current_context
from airflow.sdk.exceptions import AirflowSkipException

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
WORK_SECONDS = 0.8  # a task lives long enough to be met by a kill
RETRY: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(seconds=1)}


def dag(dag_id: str) -> DAG:
    return DAG(dag_id, schedule=None, start_date=START, catchup=False, max_active_runs=16)


def succeed(seconds: float = WORK_SECONDS) -> None:
    time.sleep(seconds)


def fail() -> None:
    time.sleep(WORK_SECONDS)
    raise ValueError("it is broken")


def fail_once() -> None:
    time.sleep(WORK_SECONDS)
    if get_current_context()["ti"].try_number == 1:
        raise OSError("the first try fails")


def skip() -> None:
    raise AirflowSkipException("nothing to do")


def stop_here() -> bool:
    return False


def task(task_id: str, work: Callable[..., object], **options: Any) -> PythonOperator:
    return PythonOperator(task_id=task_id, python_callable=work, **options)


with dag("succeeds"):
    task("one", succeed, **RETRY) >> task("two", succeed, **RETRY)

with dag("fails"):
    task("broken", fail) >> task("never", succeed)

with dag("retries"):
    task("shaky", fail_once, **RETRY) >> task("then", succeed, **RETRY)

with dag("skips"):
    task("itself", skip) >> EmptyOperator(task_id="after")
    ShortCircuitOperator(task_id="circuit", python_callable=stop_here) >> EmptyOperator(task_id="cut_off")

with dag("maps"):
    PythonOperator.partial(task_id="each", python_callable=succeed).expand(op_args=[[0.2], [0.5], [0.9]])

with dag("fragile"):  # no second try: a kill makes it fail
    task("first", succeed) >> EmptyOperator(task_id="between") >> task("last", succeed)
