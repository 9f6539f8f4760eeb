"""What is not provided for: the monitor's own code fails at an answer of Airflow's.

It is a failed look at this Airflow, and no more: the process, and what is done for other Airflows, go on.
"""

import logging

from monitor.errors import AirflowError
from monitor.metrics import Metrics

SHOWN = 200  # characters of the error's own text: it may hold a value of Airflow's

logger = logging.getLogger(__name__)


class Defect(AirflowError):
    """The comparison with one Airflow failed by a mistake in the monitor."""


class Defects:
    """Of one deployment."""

    def __init__(self, deployment: str, metrics: Metrics) -> None:
        self._deployment = deployment
        self._metrics = metrics
        self._said: dict[str, str] = {}

    def found(self, part: str, error: Exception) -> Defect:
        """Counts it each time; logs it with its traceback once for as long as it is the same."""
        what = f"{type(error).__name__}: {error}"[:SHOWN]
        self._metrics.reconcile_defects.labels(self._deployment, part).inc()
        if self._said.get(part) != what:
            self._said[part] = what
            logger.error("%s: %s cannot be compared: %s", self._deployment, part, what, exc_info=error)
        return Defect(f"{part}: the monitor failed at an answer of Airflow's ({what})")
