"""From the outbox to somebody: claim → confirm → render → send → settle."""

from monitor.delivery.airflow import Airflow
from monitor.delivery.budget import Budget
from monitor.delivery.deliverer import Deliverer
from monitor.delivery.desk import Desk
from monitor.delivery.failed_templates import FailedTemplates
from monitor.delivery.recoveries import Recoveries

__all__ = ["Airflow", "Budget", "Deliverer", "Desk", "FailedTemplates", "Recoveries"]
