"""The export of spans to an OpenTelemetry collector, by OTLP over HTTP.

OpenTelemetry's own variables set destination, headers, sampling and service name, such as
OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER and OTEL_SERVICE_NAME.
"""

import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from monitor import __version__
from monitor.observability import logging
from monitor.observability.tracing import Kind, Value

FLUSH_MS = 3_000  # at the end; a collector that is away must not hold up the monitor's stop
MAX_LINKS = 100  # of a span; OpenTelemetry's own bound is 128
KINDS = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT}
_propagator = TraceContextTextMapPropagator()


class Otlp:
    def __init__(self) -> None:
        resource = Resource.create(
            {
                "service.name": "windsock",
                "service.version": __version__,
                "service.instance.id": platform.node(),
            }
        )
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("windsock", __version__)

    @contextmanager
    def span(
        self,
        name: str,
        kind: Kind = "internal",
        *,
        parent: str | None = None,
        links: Iterable[str | None] = (),
        start_ns: int | None = None,
        **attributes: Value | None,
    ) -> Iterator["_Traced"]:
        linked = [Link(_parse_span_context(link)) for link in dict.fromkeys(links) if link][:MAX_LINKS]
        with self._tracer.start_as_current_span(
            name,
            context=_context(parent),
            kind=KINDS[kind],
            attributes=_prefix_attributes(attributes),
            links=linked,
            start_time=start_ns,
        ) as span:
            logging.bind(trace_id=f"{span.get_span_context().trace_id:032x}")
            yield _Traced(span)

    def close(self) -> None:
        self._provider.force_flush(FLUSH_MS)
        self._provider.shutdown()


class _Traced:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, trace.set_span_in_context(self._span))
        return carrier.get("traceparent")

    def set(self, **attributes: Value | None) -> None:
        self._span.set_attributes(_prefix_attributes(attributes))

    def mark_failed(self, reason: str) -> None:
        self._span.set_status(Status(StatusCode.ERROR, reason))


def _context(parent: str | None) -> Context | None:
    return _propagator.extract({"traceparent": parent}, Context()) if parent else None


def _parse_span_context(traceparent: str) -> trace.SpanContext:
    return trace.get_current_span(_context(traceparent)).get_span_context()


def _prefix_attributes(attributes: dict[str, Value | None]) -> dict[str, Value]:
    """Under a name of our own: no convention has words for a DAG, a run or a rule."""
    return {f"windsock.{name}": value for name, value in attributes.items() if value is not None}
