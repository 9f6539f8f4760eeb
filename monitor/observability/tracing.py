"""OpenTelemetry traces of the monitor, which are optional.

`traces_of` gives `OFF`, whose spans are OpenTelemetry's no-op, or traces that go to a collector by OTLP over
HTTP. OpenTelemetry's own variables set destination, headers, sampling and service name, such as
OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER and OTEL_SERVICE_NAME.

The SDK and the exporter are an extra of the distribution. They are imported only if traces are on.
"""

import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    SpanContext,
    SpanKind,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from monitor import __version__
from monitor.errors import SettingsError
from monitor.observability import logging
from monitor.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

Value = str | int | float | bool

FLUSH_MS = 3_000  # at the end. A collector that is away must not hold up the monitor's stop
MAX_LINKS = 100  # of a span. OpenTelemetry's own bound is 128
_propagator = TraceContextTextMapPropagator()


class Traces:
    """The spans of the monitor. Without a provider they measure nothing."""

    def __init__(self, provider: "TracerProvider | None" = None) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("windsock", __version__) if provider else None

    @property
    def are_on(self) -> bool:
        """True if spans are recorded."""
        return self._tracer is not None

    @contextmanager
    def span(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        *,
        parent: str | None = None,
        links: Iterable[str | None] = (),
        start_ns: int | None = None,
        **attributes: Value | None,
    ) -> Iterator[Span]:
        """Measure the block. The task's log lines carry the trace's id from then on.

        - `parent`, `links`: traceparents. Without a parent, the span around this one is it.
        - `start_ns`: Unix nanoseconds, if the work began before the block.
        """
        if self._tracer is None:
            yield INVALID_SPAN
            return
        with self._tracer.start_as_current_span(
            name,
            context=_context(parent) if parent else None,
            kind=kind,
            attributes=prefix_attributes(**attributes),
            links=[Link(_span_context(link)) for link in dict.fromkeys(links) if link][:MAX_LINKS],
            start_time=start_ns,
        ) as span:
            logging.bind(trace_id=f"{span.get_span_context().trace_id:032x}")
            yield span

    def close(self) -> None:
        """Send what is left, and end. Blocks for some seconds at most."""
        if self._provider is not None:
            self._provider.force_flush(FLUSH_MS)
            self._provider.shutdown()


OFF = Traces()


def traces_of(settings: Settings) -> Traces:
    """Return the traces that the settings ask for. Raise SettingsError if what they take is not installed."""
    return OFF if settings.traces == "off" else Traces(_otlp_provider())


def _otlp_provider() -> "TracerProvider":
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(
            f"WINDSOCK_TRACES: 'otlp' needs OpenTelemetry ({error}): pip install 'windsock-monitor[otel]'"
        ) from None
    service = {
        "service.name": "windsock",
        "service.version": __version__,
        "service.instance.id": platform.node(),
    }
    provider = TracerProvider(resource=Resource.create(service), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def traceparent_of(span: Span) -> str | None:
    """Return the traceparent with which the span's work goes on, or None if traces are off."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, set_span_in_context(span))
    return carrier.get("traceparent")


def prefix_attributes(**attributes: Value | None) -> dict[str, Value]:
    """Return the attributes that are known, under own names: no convention has words for a DAG or a rule."""
    return {f"windsock.{name}": value for name, value in attributes.items() if value is not None}


def _context(traceparent: str) -> Context:
    return _propagator.extract({"traceparent": traceparent}, Context())


def _span_context(traceparent: str) -> SpanContext:
    return get_current_span(_context(traceparent)).get_span_context()
