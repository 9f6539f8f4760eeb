"""The users' templates that could not be used for a notification: what /health says of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from monitor.clock import Clock
from monitor.metrics import Metrics

MOST = 100  # names that are kept: rules name few, and a renamed template is never used again


@dataclass(frozen=True)
class FailedTemplate:
    at: datetime
    problem: str


class FailedTemplates:
    """The templates of this process whose latest notification was written with a built-in one, by name."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._failed: dict[str, FailedTemplate] = {}

    def note(self, template: str, problem: str | None) -> None:
        """Keep the problem of a template; None: a notification was written with it, so that it has none."""
        self._failed.pop(template, None)
        if problem is None:
            return
        self._metrics.template_failures.inc()
        self._failed[template] = FailedTemplate(self._clock(), problem)
        if len(self._failed) > MOST:
            del self._failed[next(iter(self._failed))]

    def current(self) -> Mapping[str, FailedTemplate]:
        return dict(self._failed)
