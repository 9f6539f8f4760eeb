"""The same DAG four times: its dag_id says which listener is called for it."""

from airflow.sdk import dag, task


def peer(name: str) -> None:
    @dag(dag_id=name, schedule=None)
    def one_task() -> None:
        @task
        def work() -> int:
            return sum(range(1000))

        work()

    one_task()


for listener in ("none", "windsock", "openlineage", "plain"):
    peer(listener)
