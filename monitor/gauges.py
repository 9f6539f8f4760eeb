"""Metrics that nobody counts: they are looked up when somebody scrapes. And the database's errors, which are
counted where they arise.
"""

import platform
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import IntegrityError, OperationalError

from monitor import __version__
from monitor.clock import Clock
from monitor.metrics import Metrics

Since = Callable[[], datetime | None]
KINDS = ((OperationalError, "operational"), (IntegrityError, "integrity"))


def look_up(
    metrics: Metrics,
    clock: Clock,
    engine: Engine,
    rules_broken: Callable[[], bool],
    silent: Mapping[str, Since],
) -> None:
    """Fill in the gauges from what is known at each scrape. `silent`: since when this replica knows that an
    Airflow does not answer, by deployment."""
    metrics.build.labels(__version__, platform.python_version(), engine.dialect.name).set(1)
    metrics.rules_broken.set_function(lambda: float(rules_broken()))
    for deployment, since in silent.items():
        metrics.airflow_unreachable.labels(deployment).set_function(partial(_seconds, since, clock))
    event.listen(engine, "handle_error", lambda context: _count(metrics, context))


def _seconds(since: Since, clock: Clock) -> float:
    began = since()
    return max(0.0, (clock() - began).total_seconds()) if began else 0.0


def _count(metrics: Metrics, context: ExceptionContext) -> None:
    error = context.sqlalchemy_exception
    kind = next((name for shape, name in KINDS if isinstance(error, shape)), "other")
    metrics.database_errors.labels(kind).inc()
