"""How the comparison with one Airflow stands: what fails, since when, and how long to wait because of it."""

import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from monitor.clock import Clock
from monitor.errors import AirflowError, AirflowRefused, AirflowUnreachable
from monitor.reconciler.defects import Defect

MAX_BACK_OFF = 120.0  # seconds: an Airflow that is back after a night is looked at within two minutes
MAX_DOUBLINGS = 20  # far beyond MAX_BACK_OFF, and no overflow after a week without Airflow
JITTER = 0.5  # of the wait, so that several monitors do not come back together
TOLERATED = timedelta(minutes=1)
"""How long one listing may fail beside others that do not, before it is trouble. Airflow 3.3 answers the
listing of asset events with 500 while a run that one of them began is still queued."""
RESULTS: dict[type[Exception], str] = {
    AirflowUnreachable: "unreachable",
    AirflowRefused: "refused",
    Defect: "defect",
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReconcilerStatus:
    """How the comparison goes, for /health and the dashboard."""

    deployment: str
    last_good: datetime | None
    """When Airflow was last compared with the log in full."""
    last_error: str | None
    """Why it is not at the moment; None while it is."""
    watermark: datetime | None
    """Everything that Airflow changed before this moment is in the log."""
    marks: Mapping[str, datetime] = field(default_factory=dict)
    """The same of each listing."""
    silent_since: datetime | None = None
    """Since when nothing at all could be compared: Airflow does not answer, or refuses."""
    is_defect: bool = False
    """Whether it is the monitor's own mistake that it is not compared."""


class Standing:
    """Of one deployment."""

    def __init__(self, deployment: str, clock: Clock) -> None:
        self._deployment = deployment
        self._clock = clock
        self._failures = 0
        self._error: str | None = None
        self._is_defect = False
        self._since: datetime | None = None
        self._passing = False
        self._silent_since: datetime | None = None
        self._good: datetime | None = None
        self.parts: dict[str, AirflowError] = {}
        """The parts of the comparison that failed when they were last asked for, and why."""

    def status(self, marks: Mapping[str, datetime]) -> ReconcilerStatus:
        error = None if self._tolerated() else self._error
        watermark = min(marks.values(), default=None)
        is_defect = error is not None and self._is_defect
        return ReconcilerStatus(
            self._deployment, self._good, error, watermark, marks, self._silent_since, is_defect
        )

    def resume(self, known: ReconcilerStatus) -> None:
        """Go on from what another replica, or the last process, knew a moment ago."""
        self._good = self._good or known.last_good
        self._silent_since = self._silent_since or known.silent_since

    def _tolerated(self) -> bool:
        since = self._since
        return self._passing and since is not None and self._clock() - since < TOLERATED

    def failed(self, error: Exception, partly: bool) -> str:
        """Something failed; `partly`: the rest did not. Answers the kind of failure, for the metrics."""
        self._failures += 1
        reason = str(error) or type(error).__name__
        if self._error is None:  # once a change, not once a look
            logger.warning("%s is not compared with the log in full: %s", self._deployment, reason)
            self._since = self._clock()
        self._error = reason
        self._is_defect = isinstance(error, Defect)
        if partly:
            self._silent_since = None
        elif isinstance(error, AirflowError):  # not where it is the monitor's own database that fails
            self._silent_since = self._silent_since or self._clock()
        self._passing = partly and isinstance(error, AirflowUnreachable)
        return next((name for kind, name in RESULTS.items() if isinstance(error, kind)), "error")

    def succeeded(self) -> None:
        """What was looked at is compared. It stands well where nothing else is known to fail."""
        self._silent_since = None
        if self.parts:
            return
        if self._error is not None:
            logger.info("%s is compared with the log again", self._deployment)
        self._failures = 0
        self._error = self._since = None

    def complete(self) -> None:
        """Everything is compared, up to now."""
        self._good = self._clock()

    def back_off(self, interval: float) -> float:
        """Seconds to wait where nothing could be compared."""
        wait = min(MAX_BACK_OFF, interval * 2.0 ** min(MAX_DOUBLINGS, self._failures - 1))
        return wait * random.uniform(1 - JITTER, 1)  # noqa: S311 (spreads load, keeps no secret)
