"""Tasks that wait for a person: Airflow 3.1 and newer."""

import inspect
from datetime import timedelta
from typing import Any

from airflow import __version__
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

TIMEOUT = timedelta(seconds=8)


def define() -> None:
    from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator

    # What Airflow 3.1 calls the time for the answer.
    has_own_name = "response_timeout" in inspect.signature(HITLOperator.__init__).parameters
    within: dict[str, Any] = {"response_timeout" if has_own_name else "execution_timeout": TIMEOUT}
    choice: dict[str, Any] = {"task_id": "asks", "subject": "Which?", "options": ["a", "b"]}

    for dag_id in ("hitl_answered", "hitl_cleared"):
        with DAG(dag_id, schedule=None, catchup=False):
            ApprovalOperator(task_id="asks", subject="?") >> EmptyOperator(task_id="then")
    with DAG("hitl_timed_out", schedule=None, catchup=False):
        HITLOperator(**choice, **within) >> EmptyOperator(task_id="then")
    with DAG("hitl_default", schedule=None, catchup=False):
        HITLOperator(**choice, defaults=["a"], **within) >> EmptyOperator(task_id="then")


if not __version__.startswith("3.0."):
    define()
