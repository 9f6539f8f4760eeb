"""Runs that end by themselves, one DAG each. Only what Airflow 3.0.2 has is used."""

from datetime import timedelta
from typing import Any

import signals
from airflow.exceptions import AirflowSkipException
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import (
    BranchPythonOperator,
    PythonOperator,
    ShortCircuitOperator,
)
from airflow.sdk import DAG, get_current_context

SOON = timedelta(seconds=1)


def dag(dag_id: str, **settings: Any) -> DAG:
    return DAG(dag_id, schedule=None, catchup=False, **settings)


def succeed() -> None:
    pass


def fail() -> None:
    raise ValueError("no such table")


def fail_once() -> None:
    if get_current_context()["ti"].try_number == 1:
        raise OSError("the first try fails")


def skip() -> None:
    raise AirflowSkipException("nothing to do")


def reject_two(number: int) -> None:
    if number == 2:
        raise ValueError("two")


def numbers(count: int) -> list[int]:
    return list(range(1, count + 1))


def fail_beside_another() -> None:
    signals.await_signal("fail_fast-sibling-runs")
    fail()


def run_beside_another() -> None:
    signals.give("fail_fast-sibling-runs")
    signals.await_signal("never")


def python(task_id: str, what: Any, **settings: Any) -> PythonOperator:
    return PythonOperator(task_id=task_id, python_callable=what, **settings)


with dag("success"):
    python("one", succeed) >> python("two", succeed)

with dag("failure"):
    python("broken", fail)

with dag("retry"):
    python("shaky", fail_once, retries=2, retry_delay=SOON) >> python("then", succeed)

with dag("retries_exhausted"):
    python("broken", fail, retries=2, retry_delay=SOON)

with dag("upstream_failed"):
    python("broken", fail) >> python("never", succeed) >> python("nor_this", succeed)

with dag("skip_by_branch"):
    branch = BranchPythonOperator(task_id="branch", python_callable=lambda: "left")
    branch >> [python("left", succeed), python("right", succeed)]

with dag("skip_by_short_circuit"):
    circuit = ShortCircuitOperator(task_id="circuit", python_callable=lambda: False)
    circuit >> python("one", succeed) >> python("two", succeed)

with dag("skip_by_exception"):
    python("skips", skip) >> python("then", succeed)

with dag("empty_operator"):
    EmptyOperator(task_id="one") >> EmptyOperator(task_id="two")

with dag("mapped"):
    PythonOperator.partial(task_id="part", python_callable=reject_two).expand(op_args=[[1], [2], [3]])

with dag("mapped_empty"):
    none = python("none", numbers, op_args=[0])
    none >> PythonOperator.partial(task_id="part", python_callable=succeed).expand(op_kwargs=none.output)

with dag("template_error"):
    BashOperator(task_id="broken", bash_command="{{ nobody.knows.this }}")

with dag("fail_fast", fail_fast=True):
    python("broken", fail_beside_another)
    python("sibling", run_beside_another) >> python("then", succeed)
