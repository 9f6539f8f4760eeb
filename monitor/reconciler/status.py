"""The status of the comparison with one Airflow: watermarks, health, and defects of the monitor.

`Defects` counts failures of the monitor's own code on an answer of Airflow. Such a failure counts as a
failed comparison with this Airflow and nothing more. The process and the other Airflows go on.

`save_status` and `load_status` share the status through the database, for the replicas that do not compare.
Only moments are stored, next to the watermarks. The texts of Airflow's answers are in the log lines of the
replica that asks.
"""

import logging
import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select, true

from monitor.clock import Clock
from monitor.database.schema import watermarks
from monitor.database.statements import BulkInsert, replacing
from monitor.errors import AirflowError, AirflowRefused, AirflowUnreachable
from monitor.observability.metrics import Metrics
from monitor.reconciler.listings import LISTINGS

_SAVE = BulkInsert(watermarks, replacing(watermarks, lambda _new: true()))
"""An upsert: two replicas may save the same at once, for a moment (database/leader_election.py)."""


def load_watermarks(connection: Connection, deployment: str) -> dict[str, datetime]:
    """Return each listing's watermark by its name."""
    query = select(watermarks.c.name, watermarks.c.moment).where(watermarks.c.deployment == deployment)
    return {row.name: row.moment for row in connection.execute(query)}


def save_watermarks(
    connection: Connection, deployment: str, marks: Mapping[str, datetime], now: datetime
) -> None:
    """Set these watermarks."""
    rows = [
        {"deployment": deployment, "name": name, "moment": moment, "updated_at": now}
        for name, moment in sorted(marks.items())  # all in one order, or two would wait for each other
    ]
    _SAVE.rows(connection, rows)


def forget_watermarks(connection: Connection, deployment: str, names: Collection[str]) -> None:
    """Delete the watermarks of these names."""
    some = (watermarks.c.deployment == deployment, watermarks.c.name.in_(names))
    connection.execute(delete(watermarks).where(*some))


SHOWN = 200  # characters of the error's own text: it may hold a value of Airflow's

logger = logging.getLogger(__name__)


class Defect(AirflowError):
    """The comparison with one Airflow failed by a mistake in the monitor."""


class Defects:
    """The defects of the monitor in one deployment's comparison."""

    def __init__(self, deployment: str, metrics: Metrics) -> None:
        self._deployment = deployment
        self._metrics = metrics
        self._messages: dict[str, str] = {}

    def record(self, part: str, error: Exception) -> Defect:
        """Count a defect each time, and log it with its traceback once for as long as it stays the same."""
        what = f"{type(error).__name__}: {error}"[:SHOWN]
        self._metrics.reconcile_defects.labels(self._deployment, part).inc()
        if self._messages.get(part) != what:
            self._messages[part] = what
            logger.error("%s: %s cannot be compared: %s", self._deployment, part, what, exc_info=error)
        return Defect(f"{part}: the monitor failed at an answer of Airflow's ({what})")


MAX_BACK_OFF = 120.0  # seconds: an Airflow that is back after a night is looked at within two minutes
MAX_DOUBLINGS = 20  # far beyond MAX_BACK_OFF, and no overflow after a week without Airflow
JITTER = 0.5  # of the wait, so that several monitors do not come back together
TOLERATED = timedelta(minutes=1)
"""The time for which one listing may fail, while others do not, before it is trouble. Airflow 3.3 answers
the listing of asset events with 500 while a run that one of them began is still queued."""
RESULTS: dict[type[Exception], str] = {
    AirflowUnreachable: "unreachable",
    AirflowRefused: "refused",
    Defect: "defect",
}


@dataclass(frozen=True)
class ReconcilerStatus:
    """The state of the comparison, for /health and the dashboard."""

    deployment: str
    last_good: datetime | None
    """The moment at which Airflow was last compared with the log in full."""
    last_error: str | None
    """The reason why it is not compared at the moment, or None."""
    watermark: datetime | None
    """Everything that Airflow changed before this moment is in the log."""
    marks: Mapping[str, datetime] = field(default_factory=dict)
    """The same of each listing."""
    silent_since: datetime | None = None
    """The moment since which nothing at all could be compared, because Airflow does not answer, or refuses.
    """
    is_defect: bool = False
    """True if the monitor's own defect is the reason."""


class ReconcilerHealth:
    """The health of one deployment's comparison."""

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
        """Return the status with these watermarks."""
        error = None if self._is_tolerated() else self._error
        watermark = min(marks.values(), default=None)
        is_defect = error is not None and self._is_defect
        return ReconcilerStatus(
            self._deployment, self._good, error, watermark, marks, self._silent_since, is_defect
        )

    def resume(self, status: ReconcilerStatus) -> None:
        """Go on from what another replica, or the last process, knew a moment ago."""
        self._good = self._good or status.last_good
        self._silent_since = self._silent_since or status.silent_since

    def _is_tolerated(self) -> bool:
        since = self._since
        return self._passing and since is not None and self._clock() - since < TOLERATED

    def record_failure(self, error: Exception, partly: bool) -> str:
        """Record a failure and return its kind for the metrics. `partly` means that the rest did not fail."""
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

    def record_success(self) -> None:
        """Record that a part is compared. The comparison is good if no other part is known to fail."""
        self._silent_since = None
        if self.parts:
            return
        if self._error is not None:
            logger.info("%s is compared with the log again", self._deployment)
        self._failures = 0
        self._error = self._since = None

    def complete(self) -> None:
        """Record that everything is compared up to now."""
        self._good = self._clock()

    def back_off(self, interval: float) -> float:
        """Return the seconds to wait after a poll in which nothing could be compared."""
        wait = min(MAX_BACK_OFF, interval * 2.0 ** min(MAX_DOUBLINGS, self._failures - 1))
        return wait * random.uniform(1 - JITTER, 1)  # noqa: S311 (spreads load, keeps no secret)


GOOD, SILENT, FAILING, SEEN = "compared", "silent_since", "failing", "looked"
"""Their names among the watermarks: see `save`."""
STALE = timedelta(seconds=2 * MAX_BACK_OFF + 60)
"""The longest pause between two looks, and time for a long one: what is older says nothing of now."""
ELSEWHERE = "another replica compares it, and cannot at the moment: its log says why"


def save_status(connection: Connection, status: ReconcilerStatus, now: datetime) -> None:
    """Save the state that is known after a poll."""
    failing = now if status.last_error is not None else None
    moments = {GOOD: status.last_good, SILENT: status.silent_since, FAILING: failing, SEEN: now}
    last_polls = {name: moment for name, moment in moments.items() if moment is not None}
    forget_watermarks(connection, status.deployment, moments.keys() - last_polls)
    save_watermarks(connection, status.deployment, last_polls, now)


def load_status(connection: Connection, deployment: str, now: datetime) -> ReconcilerStatus:
    """Return the state after the last poll of the replica that compares, or nothing if that was long ago."""
    found = load_watermarks(connection, deployment)
    marks = {listing.name: found[listing.name] for listing in LISTINGS if listing.name in found}
    if SEEN not in found or now - found[SEEN] > STALE:
        found = {}
    silent_since = found.get(SILENT)
    return ReconcilerStatus(
        deployment,
        last_good=found.get(GOOD),
        last_error=ELSEWHERE if silent_since or FAILING in found else None,
        watermark=min(marks.values(), default=None),
        marks=marks,
        silent_since=silent_since,
    )
