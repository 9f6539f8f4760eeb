"""DAGs whose runs Airflow has a word of its own for: deleted, paused, tested, waiting for a person."""

import time

from airflow.sdk import dag, task

try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except ImportError:  # Airflow 3.0
    ApprovalOperator = None


@dag(schedule=None)
def plain():
    @task
    def work():
        return 1

    work()


@dag(schedule=None)
def sleeper():
    @task
    def sleep():
        time.sleep(600)

    sleep()


@dag(schedule=None, max_consecutive_failed_dag_runs=2)
def failing():
    @task
    def fail():
        raise ValueError("no good")

    fail()


if ApprovalOperator:

    @dag(schedule=None)
    def human():
        ApprovalOperator(task_id="ask", subject="May it go on?")

    human()

plain()
sleeper()
failing()
