"""From the outbox to the mail server: claim → confirm → render → send → settle."""

from monitor.delivery.airflow import Airflow
from monitor.delivery.deliverer import Deliverer
from monitor.delivery.desk import Desk

__all__ = ["Airflow", "Deliverer", "Desk"]
