"""Compares Airflow with the log and fills in what no listener reported."""

from monitor.reconciler.post import Post
from monitor.reconciler.reconciler import Reconciler
from monitor.reconciler.standing import ReconcilerStatus

__all__ = ["Post", "Reconciler", "ReconcilerStatus"]
