"""A DAG that the dag-processor can import and a task's process cannot: a library is missing there, say."""

import sys

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

if "scheduler" in sys.argv:  # the LocalExecutor's processes are the scheduler's children
    raise ImportError("this library is installed elsewhere only")

with DAG("not_on_workers", schedule=None, catchup=False):
    PythonOperator(task_id="one", python_callable=print)
