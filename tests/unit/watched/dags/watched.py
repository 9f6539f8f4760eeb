"""What a dead scheduler leaves undone."""

import time
from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Asset

MODEL = Asset(name="model", uri="file:///models/model.pkl")
SCALER = Asset(name="scaler", uri="file:///models/scaler.pkl")


def wait() -> None:
    time.sleep(600)


# Airflow moves its next run on every five seconds, run or no run: it is overdue by more than that never.
with DAG("often", schedule=timedelta(seconds=5), catchup=False, tags=["notify:team", "nightly"]):
    EmptyOperator(task_id="done", owner="anna")

with DAG("endless", schedule=None):
    PythonOperator(task_id="wait", python_callable=wait)

with DAG("by_hand", schedule=None):
    EmptyOperator(task_id="done")

with DAG("eater", schedule=[MODEL]):
    EmptyOperator(task_id="done")

with DAG("waits_for_both", schedule=[MODEL, SCALER]):
    EmptyOperator(task_id="done")
