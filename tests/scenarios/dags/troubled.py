"""DAGs that fail where people look: a backfill, one that Airflow pauses, one that is tested by hand, a mapped
task of which one index recovers, and runs that are deleted.
"""

from datetime import datetime, timezone

import signals
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, get_current_context

FIRST_DAY = datetime(2024, 1, 1, tzinfo=timezone.utc)


def fail() -> None:
    raise ValueError("no such table")


def fail_every_fifth_day() -> None:
    day = get_current_context()["logical_date"]
    if day.year == FIRST_DAY.year and day.day % 5 == 0:
        raise ValueError(f"no data of {day:%d %B}")


def fail_until_mended() -> None:
    if not signals.is_given("tested_by_hand-mended"):
        fail()


def fail_or_wait(number: int) -> None:
    if number == 1:
        fail()
    signals.await_signal("mapped_recovers-goes-on")


with DAG("backfilled", schedule="@daily", start_date=FIRST_DAY, catchup=False):
    PythonOperator(task_id="one", python_callable=fail_every_fifth_day)

with DAG("auto_paused", schedule=None, catchup=False, max_active_runs=1, max_consecutive_failed_dag_runs=2):
    PythonOperator(task_id="broken", python_callable=fail)

with DAG("tested_by_hand", schedule=None, catchup=False):
    PythonOperator(task_id="one", python_callable=fail_until_mended)

with DAG("mapped_recovers", schedule=None, catchup=False):
    PythonOperator.partial(task_id="part", python_callable=fail_or_wait).expand(op_args=[[0], [1]])

with DAG("run_deleted", schedule=None, catchup=False):
    PythonOperator(task_id="broken", python_callable=fail)
