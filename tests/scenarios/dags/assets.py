"""Assets that a task, an alias and REST update, and the runs that each update begins."""

from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Asset, AssetAlias

BY_TASK, BY_ALIAS, BY_REST = (
    Asset(name=name, uri=f"file:///scenarios/{name}")
    for name in ("asset_by_task", "asset_by_alias", "asset_by_rest")
)
ALIAS = AssetAlias("whichever")


def update(*, outlet_events: Any) -> None:
    outlet_events[BY_TASK].extra = {"rows": 569}


def update_by_alias(*, outlet_events: Any) -> None:
    outlet_events[ALIAS].add(BY_ALIAS, extra={"rows": 569})


def consume() -> None:
    pass


with DAG("asset_by_task", schedule=None, catchup=False):
    PythonOperator(task_id="updates", python_callable=update, outlets=[BY_TASK])

with DAG("asset_by_alias", schedule=None, catchup=False):
    PythonOperator(task_id="updates", python_callable=update_by_alias, outlets=[ALIAS])

for asset in (BY_TASK, BY_ALIAS, BY_REST):
    with DAG(f"{asset.name}-consumer", schedule=[asset], catchup=False):
        PythonOperator(task_id="consumes", python_callable=consume)
