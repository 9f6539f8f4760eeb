"""Runs that wait, and those that wait too long. Only what Airflow 3.0.2 has is used."""

from datetime import timedelta
from typing import Any

import signals
from airflow.providers.standard.operators.python import PythonOperator
from airflow.providers.standard.sensors.python import PythonSensor
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import DAG, BaseOperator, get_current_context

A_WHILE = timedelta(seconds=20)
"""What is back sooner than the scheduler has noticed that it went, Airflow marks as failed."""
TOO_LONG = timedelta(hours=1)


class Deferring(BaseOperator):
    """Defers once, for `wait`; fails where that takes longer than `patience`."""

    def __init__(self, *, wait: timedelta, patience: timedelta | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.wait = wait
        self.patience = patience

    def execute(self, context: Any) -> None:
        self.defer(trigger=TimeDeltaTrigger(self.wait), method_name="resume", timeout=self.patience)

    def resume(self, context: Any, event: Any = None) -> None:
        pass


def asked_twice() -> bool:
    """False at the first call of a run, true from then on."""
    name = f"asked-{get_current_context()['run_id']}"
    try:
        return (signals.FOLDER / name).exists()
    finally:
        signals.give(name)


def sit() -> None:
    signals.await_signal("never")


def dag(dag_id: str, **settings: Any) -> DAG:
    return DAG(dag_id, schedule=None, catchup=False, **settings)


with dag("deferred"):
    Deferring(task_id="waits", wait=A_WHILE)

with dag("deferred_too_long"):
    Deferring(task_id="waits", wait=TOO_LONG, patience=timedelta(seconds=1))

with dag("rescheduled"):
    PythonSensor(task_id="asks", python_callable=asked_twice, mode="reschedule", poke_interval=A_WHILE)

with dag("execution_timeout"):
    PythonOperator(task_id="sits", python_callable=sit, execution_timeout=timedelta(seconds=1))

with dag("dagrun_timeout", dagrun_timeout=timedelta(seconds=5)):
    PythonOperator(task_id="sits", python_callable=sit) >> PythonOperator(task_id="then", python_callable=sit)
