"""A DAG that runs once for each partition of an asset: Airflow 3.2 and newer."""

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Asset

try:
    from airflow.sdk import PartitionedAssetTimetable
except ImportError:  # an older Airflow: there is no such DAG
    pass
else:
    asset = Asset("partitioned", uri="file:///scenarios/partitioned")
    with DAG("partitioned-consumer", schedule=PartitionedAssetTimetable(assets=asset), catchup=False):
        PythonOperator(task_id="consumes", python_callable=print)
