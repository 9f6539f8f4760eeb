"""The interface to OpenTelemetry traces, which are optional.

`traces_of` gives the exporter (otlp.py) if traces are on, and an implementation that does nothing if they
are off.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol

from monitor.errors import SettingsError
from monitor.settings import Settings

Kind = Literal["internal", "server", "client"]
Value = str | int | float | bool


class Span(Protocol):
    """One piece of work, while it is being done."""

    @property
    def traceparent(self) -> str | None:
        """For whom it goes on with; None where traces are off."""

    def set(self, **attributes: Value | None) -> None:
        """Say more of it; what is None is not known."""

    def mark_failed(self, reason: str) -> None:
        """It did not come to what it was for."""


class Traces(Protocol):
    def span(
        self,
        name: str,
        kind: Kind = "internal",
        *,
        parent: str | None = None,
        links: Iterable[str | None] = (),
        start_ns: int | None = None,
        **attributes: Value | None,
    ) -> AbstractContextManager[Span]:
        """Measure what is done inside. `parent`: a traceparent; default: the span around it. `start_ns`: Unix
        nanoseconds, where it began before."""

    def close(self) -> None:
        """Send what is left, and end. Blocks for some seconds at most."""


class _Nothing:
    traceparent = None

    def set(self, **attributes: Value | None) -> None:
        """Nobody listens."""

    def mark_failed(self, reason: str) -> None:
        """Nobody listens."""


class _Off:
    def __init__(self) -> None:
        self._nothing: AbstractContextManager[Span] = nullcontext(_Nothing())

    def span(
        self,
        name: str,
        kind: Kind = "internal",
        *,
        parent: str | None = None,
        links: Iterable[str | None] = (),
        start_ns: int | None = None,
        **attributes: Value | None,
    ) -> AbstractContextManager[Span]:
        return self._nothing

    def close(self) -> None:
        """There is nothing to send."""


OFF: Traces = _Off()


def traces_of(settings: Settings) -> Traces:
    """As the settings say. Raises SettingsError where what it takes is not installed."""
    if settings.traces == "off":
        return OFF
    try:
        from monitor.observability.otlp import Otlp
    except ImportError as error:
        raise SettingsError(
            f"WINDSOCK_TRACES: 'otlp' needs OpenTelemetry ({error}): pip install 'windsock-monitor[otel]'"
        ) from None
    return Otlp()
