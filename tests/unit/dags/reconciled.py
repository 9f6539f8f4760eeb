"""Runs that end in each way that the reconciler is asked about."""

import logging
from datetime import timedelta
from typing import Any

from airflow.exceptions import AirflowSkipException
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Asset

MODEL = Asset(name="model.pkl", uri="file:///models/model.pkl")


def train(*, outlet_events: Any) -> None:
    outlet_events[MODEL].extra = {"accuracy": 0.98}


def score(part: int) -> int:
    return part


def skip() -> None:
    raise AirflowSkipException("nothing to do")


def load() -> None:
    for number in range(50):
        logging.getLogger("rows").info("row %d", number)
    raise ValueError("no such table: <b>größe</b>")


with DAG("good", schedule=None):
    trained = PythonOperator(task_id="train", python_callable=train, outlets=[MODEL])
    scored = PythonOperator.partial(task_id="score", python_callable=score).expand(op_args=[[1], [2]])
    trained >> scored >> PythonOperator(task_id="skip", python_callable=skip)

with DAG("broken", schedule=None):
    loaded = PythonOperator(task_id="load", python_callable=load, retries=1, retry_delay=timedelta(seconds=1))
    loaded >> PythonOperator(task_id="train", python_callable=score, op_args=[1])

with DAG("release", schedule=[MODEL]):
    PythonOperator(task_id="promote", python_callable=score, op_args=[1])
