"""Metrics that nobody counts: they are looked up when somebody scrapes. And the database's errors, which are
counted where they arise.
"""

import platform
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import IntegrityError, OperationalError

from monitor import __version__
from monitor.clock import Clock
from monitor.metrics import Metrics
from monitor.reconciler import ReconcilerStatus

Since = Callable[[], datetime | None]
KINDS = ((OperationalError, "operational"), (IntegrityError, "integrity"))


def look_up(
    metrics: Metrics,
    clock: Clock,
    engine: Engine,
    mail_failing: Since,
    rules_broken: Callable[[], bool],
    airflows: Sequence[Callable[[], ReconcilerStatus]],
) -> None:
    """Fill in the gauges from what is known at each scrape."""
    metrics.build.labels(__version__, platform.python_version(), engine.dialect.name).set(1)
    metrics.mail_failing.set_function(lambda: _seconds(mail_failing(), clock))
    metrics.rules_broken.set_function(lambda: float(rules_broken()))
    for status in airflows:
        metrics.airflow_silent.labels(status().deployment).set_function(partial(_silent, status, clock))
    event.listen(engine, "handle_error", lambda context: _count(metrics, context))


def _silent(status: Callable[[], ReconcilerStatus], clock: Clock) -> float:
    return _seconds(status().silent_since, clock)


def _seconds(since: datetime | None, clock: Clock) -> float:
    return max(0.0, (clock() - since).total_seconds()) if since else 0.0


def _count(metrics: Metrics, context: ExceptionContext) -> None:
    error = context.sqlalchemy_exception
    kind = next((name for shape, name in KINDS if isinstance(error, shape)), "other")
    metrics.database_errors.labels(kind).inc()
