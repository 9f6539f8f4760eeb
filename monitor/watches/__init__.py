"""Finds what does not happen, and tells it once (docs/watches.md)."""

from monitor.watches.airflow_look import Watched
from monitor.watches.loop import Watches

__all__ = ["Watched", "Watches"]
