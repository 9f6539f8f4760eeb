"""The ingest endpoint `POST /api/v1/events`.

`receive` takes batches of events, signed by the plugin or sent with a token of the scope `ingest`
(docs/events.md, "Ingest"). The events then go to event_log/ingest.py, which writes them.

`_check_signature_headers` refuses a request whose headers cannot hold a valid signature before the body is
read. `_verify` checks the signature of the body. The limits are `MAX_BODY` and `TOLERANCE_SECONDS` in this
module, `MAX_BATCH` in ingest_models.py, and the memory of all bodies together in web/http_protocol.py.

`record_metadata`, `request_traceparent` and `trace` use the optional request metadata: spool status and trace
context. Invalid metadata is counted or ignored, and no request is refused because of it.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from opentelemetry.trace import Span, SpanKind
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from monitor.bounded_json import TooManyValues, loads
from monitor.errors import EventError
from monitor.event_log.ingest_queue import IngestBusy, IngestOutcome
from monitor.events import event as events_event
from monitor.events.data import MAX_ID
from monitor.events.event import Event, trace_of
from monitor.events.reports import Reporter, accept_report
from monitor.observability import logging as observability_logging
from monitor.observability import spool_metrics
from monitor.observability.tracing import Traces, prefix_attributes, traceparent_of
from monitor.settings import Settings
from monitor.web.api.ingest_models import ANSWERS, BATCH, MAX_BATCH, REQUEST, SINGLE, IngestResponse
from monitor.web.auth.authenticator import NotSignedIn, ScopeLacking, TooManyFailures
from monitor.web.auth.rate_limit import address_of
from monitor.web.auth.tokens import PREFIX, Scope, Token
from monitor.web.dependencies import bearer_of
from monitor.web.http_protocol import RETRY_SECONDS, BodyRefused, release_body
from monitor.web.paths import path_prefix
from monitor.web.problems import NOT_HTTP, SIGNATURE, problem
from monitor.web.services import Services, ServicesDep


def record_metadata(
    services: Services, request: Request, raws: Sequence[Any], events: Sequence[Event]
) -> None:
    """Keep the status of the sender's spool, and count the traceparents that are invalid."""
    spool = request.headers.get(spool_metrics.HEADER)
    if spool and events:
        services.metrics.spools.update(events[0].deployment, spool)
    event_count = sum(isinstance(raw, dict) and events_event.ATTRIBUTE in raw for raw in raws)
    if event_count and (wrong := event_count - sum(event.traceparent is not None for event in events)) > 0:
        services.metrics.traceparents_ignored.inc(wrong)


def request_traceparent(request: Request) -> str | None:
    """Return the trace of the request itself."""
    return events_event.valid(request.headers.get(events_event.ATTRIBUTE))


def trace(traces: Traces, request: Span, taken: Iterable[tuple[Event, bool]], began_ns: int) -> None:
    """Open a span for each new event.
    It is a child of the event's own, linked to the request that brought the event."""
    if not traces.are_on:
        return
    link = traceparent_of(request)
    for event, new in taken:
        if new:
            with traces.span(
                f"log {event.type}",
                parent=trace_of(event),
                links=[link],
                start_ns=began_ns,
                event_id=event.id,
                deployment=event.deployment,
                dag_id=event.dag_id,
                run_id=event.get("run_id"),
                reported_by=event.data.reported_by,
            ):
                pass


MAX_BODY = 4 * 1024 * 1024  # bytes: a full batch of long tracebacks. More is a mistake or an attack
SMALL_BODY = 8 * 1024  # bytes: checked in less time than a thread takes to be woken
BUSY_SECONDS = 2  # what Retry-After asks of a sender while the queue is full

SIGNATURE_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
TOLERANCE_SECONDS = 300  # Standard Webhooks' own. The library checks it again, with the body
TIMESTAMP_DIGITS = 12  # seconds until the year 33658

NAMED = 10  # events of a batch whose ids its log lines carry

KIND_OF_REASON = {"signature": SIGNATURE, "cut": NOT_HTTP}
"""The problem of a refusal whose status says less than its reason does."""
REJECTED = IngestOutcome.REJECTED
UNWRITABLE = "data: a value that the database cannot hold; the monitor's log names it"

router = APIRouter()
logger = logging.getLogger(__name__)


class Refusal(Exception):
    """The request is refused as a whole."""

    def __init__(self, status: int, reason: str, detail: str, retry: int | None = None) -> None:
        super().__init__(detail)
        self.retry = retry
        """Seconds, for Retry-After."""
        self.status = status
        self.reason = reason
        self.detail = detail


@router.post(
    "/api/v1/events",
    status_code=202,
    tags=["events"],
    operation_id="sendEvents",
    responses={**ANSWERS, 202: {**ANSWERS[202], "model": IngestResponse}},
    openapi_extra=REQUEST,
)
async def receive(request: Request, services: ServicesDep) -> JSONResponse:
    """Take a batch of CloudEvents.

    The batch is signed as Standard Webhooks says, or comes with a bearer token of the scope `ingest`.
    Answers 202 once everything accepted is durable, with a result for each event, in order."""
    try:
        kind = _content_type(request)
        token = await _token(request, services)
        if token is None:
            _check_signature_headers(request, services)
        body = await _read(request)
        headers = {name: request.headers.get(name, "") for name in SIGNATURE_HEADERS}
        opening = partial(_open, services.settings, services.clock(), token, kind, headers, body)
        # In a thread: a signature over 4 MiB and 500 events to check would hold every feed for a while.
        raws, parsed = opening() if len(body) <= SMALL_BODY else await run_in_threadpool(opening)
        release_body(request.scope)  # from now on its events count, in the queue
        record_metadata(services, request, raws, [event for event in parsed if isinstance(event, Event)])
        _count_corrected(services, raws, parsed)
        with services.traces.span("ingest", SpanKind.SERVER, parent=request_traceparent(request)) as span:
            return await _take(services, raws, parsed, span)
    except Refusal as refusal:
        services.metrics.ingest_refused.labels(refusal.reason).inc()
        retry = {"Retry-After": str(refusal.retry)} if refusal.retry else None
        special = KIND_OF_REASON.get(refusal.reason)
        return problem(refusal.status, refusal.detail, retry, path_prefix(request), special)


def _content_type(request: Request) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (BATCH, SINGLE):
        raise Refusal(415, "content_type", f"Content-Type: {kind[:80]!r} is not {BATCH} or {SINGLE}")
    return kind


async def _token(request: Request, services: Services) -> Token | None:
    """Return the Windsock token that stands for the signature. Looked at before the body is."""
    try:
        bearer = bearer_of(request)
        if bearer is None or not bearer.startswith(PREFIX):
            return None
        token = await services.authenticator.token(bearer, address_of(request.scope))
    except NotSignedIn as reason:
        raise Refusal(401, "token", str(reason)) from None
    except TooManyFailures as many:
        raise Refusal(429, "token", str(many), many.seconds) from None
    if not token.allows(Scope.INGEST):
        raise Refusal(403, "token", str(ScopeLacking(token, Scope.INGEST)))
    return token


def _check_signature_headers(request: Request, services: Services) -> None:
    """Refuse what cannot be signed before its body is read."""
    if not any(services.settings.ingest_secrets.values()):
        raise Refusal(401, "signature", "no ingest secret is set on the monitor: set WINDSOCK_INGEST_SECRET")
    lacking = [name for name in SIGNATURE_HEADERS if not request.headers.get(name)]
    if lacking:
        raise _signature_refusal(f"{', '.join(lacking)}: missing")
    sent = request.headers["webhook-timestamp"]
    if not (sent.isascii() and sent.isdigit() and len(sent) <= TIMESTAMP_DIGITS):
        raise _signature_refusal("webhook-timestamp: is no number of seconds")
    if abs(time.time() - int(sent)) > TOLERANCE_SECONDS:
        raise _signature_refusal("webhook-timestamp: is too old or too new")


async def _read(request: Request) -> bytes:
    """Read the body, and give up as soon as it is too long, whatever Content-Length claimed."""
    too_long = Refusal(413, "too_large", f"the body is longer than {MAX_BODY} bytes; send fewer events")
    claimed = request.headers.get("content-length", "")
    if claimed.isdigit() and int(claimed) > MAX_BODY:
        raise too_long
    parts = bytearray()
    try:
        async for part in request.stream():
            parts += part
            if len(parts) > MAX_BODY:
                raise too_long
    except BodyRefused as refused:
        raise Refusal(refused.status_code, "memory", refused.detail, RETRY_SECONDS) from None
    except ClientDisconnect:  # the answer is not read: the sender keeps its events and comes again
        raise Refusal(400, "cut", "the connection ended before the body did") from None
    return bytes(parts)


def _open(
    settings: Settings, now: datetime, token: Token | None, kind: str, headers: dict[str, str], body: bytes
) -> tuple[list[Any], list[Event | str]]:
    """Verify, decode and check the body.
    Return the raw values, and for each the event or the reason why it is none. A token stands for the
    signature."""
    allowed = _verify(settings, headers, body) if token is None else token.reports_for(settings.deployment)
    reporter = Reporter(allowed & settings.ingest_secrets.keys(), frozenset(settings.every_airflow))
    raws = _decode(kind, body)
    return raws, [_parse(raw, reporter, now) for raw in raws]


def _verify(settings: Settings, headers: dict[str, str], body: bytes) -> frozenset[str]:
    """Check the signature against each secret in force.
    The library compares in constant time. Return the deployments that the signature reports for."""
    detail = ""
    for deployment, secrets in settings.ingest_secrets.items():
        for secret in secrets:
            try:
                Webhook(secret.get_secret_value()).verify(body, headers, json_parse=False)
                return frozenset((deployment,))
            except WebhookVerificationError as error:
                detail = str(error)
            except ValueError:  # the library lets a body that is no UTF-8 and a malformed header through
                detail = "the headers or the body are malformed"
    raise _signature_refusal(detail)


def _signature_refusal(detail: str) -> Refusal:
    return Refusal(
        401,
        "signature",
        f"signature: {detail}. Compare AIRFLOW__WINDSOCK__INGEST_SECRET with WINDSOCK_INGEST_SECRET, "
        "and the clocks of both machines (5 minutes' tolerance)",
    )


def _decode(kind: str, body: bytes) -> list[Any]:
    try:
        value = loads(body)
    except TooManyValues as error:
        raise Refusal(413, "too_large", f"the body is too much: {error}; send fewer events") from None
    except ValueError as error:
        raise Refusal(400, "malformed", f"the body is not JSON: {error}") from None
    batch = [value] if kind == SINGLE else value
    if not isinstance(batch, list):
        raise Refusal(400, "malformed", f"a batch is a JSON array, this is {type(batch).__name__}")
    if len(batch) > MAX_BATCH:
        raise Refusal(413, "too_large", f"{len(batch)} events in one batch; at most {MAX_BATCH}")
    return batch


def _parse(raw: object, reporter: Reporter, now: datetime) -> Event | str:
    try:
        return accept_report(raw, reporter, now)
    except EventError as error:
        return str(error)


def _count_corrected(services: Services, raws: Sequence[Any], parsed: Sequence[Event | str]) -> None:
    """Count and log the events whose sender gave another id than their data do."""
    for raw, event in zip(raws, parsed, strict=True):
        if isinstance(event, Event) and event.id != raw["id"]:
            services.metrics.ids_corrected.labels(event.deployment).inc()
            logger.warning("event %r has the id %r by its data, which is used", raw["id"], event.id)


async def _take(services: Services, raws: list[Any], parsed: list[Event | str], span: Span) -> JSONResponse:
    events = [event for event in parsed if isinstance(event, Event)]
    observability_logging.bind(**_about(events))
    span.set_attributes(prefix_attributes(events=len(events)))
    began = time.time_ns()
    try:
        outcomes = await services.ingest.submit(events) if events else []
    except IngestBusy as busy:
        raise Refusal(429, "busy", f"{busy}; send again in {BUSY_SECONDS} s", BUSY_SECONDS) from None
    new = [outcome is IngestOutcome.ACCEPTED for outcome in outcomes]
    trace(services.traces, span, zip(events, new, strict=True), began)
    remaining = iter(outcomes)
    results: list[dict[str, str | None]] = []
    for raw, event in zip(raws, parsed, strict=True):
        outcome, reason = (next(remaining), UNWRITABLE) if isinstance(event, Event) else (REJECTED, event)
        result: dict[str, str | None] = {"id": _id_of(raw), "status": outcome.value}
        if outcome is REJECTED:
            result["reason"] = reason
            services.metrics.events.labels("rejected", "unknown").inc()
            logger.warning("rejected event %r: %s", _id_of(raw), reason)
        results.append(result)
    counts = Counter(str(result["status"]) for result in results)
    answer: dict[str, Any] = {outcome.value: counts[outcome.value] for outcome in IngestOutcome}
    return JSONResponse(answer | {"results": results}, 202)


def _about(events: Sequence[Event]) -> dict[str, Any]:
    """Return what this request's log lines name: the run, or the events' ids if the batch is of many runs."""
    about: dict[str, Any] = {"event_ids": [event.id for event in events[:NAMED]] or None}
    for name in ("deployment", "dag_id", "run_id"):
        values = {getattr(event, name, None) or event.get(name) for event in events}
        about[name] = values.pop() if len(values) == 1 else None
    return about


def _id_of(raw: object) -> str | None:
    """Return the id that the sender gave, for its own use.
    The event was refused, so the id may be anything."""
    event_id = raw.get("id") if isinstance(raw, dict) else None
    return event_id[:MAX_ID] if isinstance(event_id, str) else None
