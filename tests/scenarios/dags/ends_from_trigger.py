"""A DAG that fails to import under any listener, whoever's."""

from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.sdk import DAG

with DAG("ends_from_trigger", schedule=None, catchup=False):
    DateTimeSensorAsync(task_id="waits", target_time="2026-01-01T00:00:00+00:00", end_from_trigger=True)
