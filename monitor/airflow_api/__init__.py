"""Airflow's REST API, as far as the monitor asks it."""

from monitor.airflow_api.client import AirflowApi
from monitor.airflow_api.paging import Page

__all__ = ["AirflowApi", "Page"]
