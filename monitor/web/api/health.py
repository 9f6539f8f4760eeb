"""`GET /health`, `/livez`, `/readyz` and `/metrics`: the health of the monitor and its parts.

People and alerts read `/health`. A supervisor restarts by `/livez`, and a load balancer routes by `/readyz`.
Without sign-in `/health` says only whether all is well. `/metrics` is open, because scrapers have no Airflow
token: it holds numbers, and no name of a DAG, a run or a person.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import Field
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from monitor.airflow.client import AirflowApi, Component, components
from monitor.clock import Clock
from monitor.database.engine import Database
from monitor.database.leader_election import FailedWorks, holders
from monitor.database.write_check import WRITE_SECONDS
from monitor.delivery.messages.filters import span
from monitor.delivery.messages.templates import FailedTemplates
from monitor.errors import AirflowError
from monitor.event_log import cursor
from monitor.event_log import read as event_log_read
from monitor.event_log.filters import AllowedDags, Filter
from monitor.notifications.outbox import queries
from monitor.notifications.outbox.queries import DeliveryFilter
from monitor.notifications.outbox.records import State
from monitor.reconciler.loop import ReconcilerHandle
from monitor.web.dependencies import OptionalPrincipal
from monitor.web.query_params import MAX_PAGE
from monitor.web.responses import SERVER, Answers, ResponseModel, example, problems
from monitor.web.services import PartHealth, ProbedServicesDep, Report, Services, ServicesDep

COMPONENT_SECONDS = 15.0  # an answer of Airflow's counts for so long, however often it is asked for
COMPONENT_TIMEOUT = 3.0  # seconds: how the other parts are is not to wait for Airflow

AIRFLOW = "airflow"
RECONCILER = "reconciler"
REPLICAS = "replicas"
NOBODY = "no replica yet"
AIRFLOW_REMEDY = (
    "Is its api-server up, and are WINDSOCK_AIRFLOW_URL, name and password right? `windsock check` tries."
)
RECONCILER_REMEDY = (
    "What cannot be compared is not filled in. If it does not pass, look at Airflow's api-server's log."
)
DEFECT_REMEDY = (
    "This is a mistake in the monitor: report it with the traceback that its log has. It is tried again, and "
    "everything else goes on. Does WINDSOCK_AIRFLOW_URL lead to an Airflow?"
)
ROWS_REMEDY = (
    "Find it in Airflow: megabytes of a run's conf, an asset event's extra, a DAG's description or an import "
    "error's trace. Make it short or delete it; what Airflow's hooks report of it is logged all the same."
)
BACKGROUND = "background work"
TEMPLATES = "templates"
TEMPLATES_REMEDY = (
    "Notifications are sent with a built-in template meanwhile. Mend it: `windsock preview` shows it with "
    "made-up data. This passes with the next notification that it can be used for."
)
COMPONENT_REMEDY = "Look at its log, and start it again: `airflow {}`, its container, pod or service."

logger = logging.getLogger(__name__)


def build_leader_report(database: Database, works: Sequence[str]) -> Report:
    """Return the report on which replica leads which task."""

    async def report() -> dict[str, PartHealth]:
        found = await database.read(lambda connection: holders(connection, works))
        by_name: dict[str, list[str]] = defaultdict(list)
        for work in works:
            by_name[found.get(work, NOBODY)].append(work)
        text = "; ".join(f"{name}: {', '.join(some)}" for name, some in sorted(by_name.items()))
        # That is so for seconds whenever a leader ends. windsock_leader shows if it lasts.
        return {REPLICAS: PartHealth("unknown" if NOBODY in by_name else "ok", text)}

    return report


def build_skipped_rows_report(api: AirflowApi, clock: Clock) -> Report:
    """Return the report on listings' rows that are too long to read. No part without such rows."""

    async def report() -> dict[str, PartHealth]:
        met = api.passed_over.lately(clock())
        if not met:
            return {}
        rows = ", ".join(f"{name} at offset {skipped.offset}" for name, skipped in sorted(met.items()))
        text = f"a row alone is more than is read, and is passed over: {rows}"
        last = max(skipped.at for skipped in met.values())
        return {f"{RECONCILER} {api.deployment} rows": PartHealth("down", text, last, ROWS_REMEDY)}

    return report


def build_work_report(failed: FailedWorks) -> Report:
    """Return the report on background work that failed and was begun anew. No part without failures."""

    async def report() -> dict[str, PartHealth]:
        lately = failed.lately()
        if not lately:
            return {}
        text = "; ".join(f"{name} failed: {failure.error}" for name, failure in sorted(lately.items()))
        last = max(failure.at for failure in lately.values())
        return {BACKGROUND: PartHealth("down", text, last, DEFECT_REMEDY)}

    return report


def of_templates(failed: FailedTemplates) -> Report:
    """Return the report on users' templates that could not be used. No part without such templates."""

    async def report() -> dict[str, PartHealth]:
        current = failed.current()
        if not current:
            return {}
        text = "; ".join(template.problem for _, template in sorted(current.items()))
        last = max(template.at for template in current.values())
        return {TEMPLATES: PartHealth("down", text, last, TEMPLATES_REMEDY)}

    return report


def build_reconciler_report(handle: ReconcilerHandle) -> Report:
    """Return the report on one Airflow."""

    async def report() -> dict[str, PartHealth]:
        status = await handle.status()
        remedy = DEFECT_REMEDY if status.is_defect else RECONCILER_REMEDY
        compared = "compared with the log" if handle.is_local else "compared with the log by another replica"
        airflow, own = f"{AIRFLOW} {status.deployment}", f"{RECONCILER} {status.deployment}"
        if status.silent_since is not None:
            why = status.last_error or "does not answer"
            remedy = DEFECT_REMEDY if status.is_defect else AIRFLOW_REMEDY
            health = PartHealth("down", why, status.last_good, remedy)
            return {airflow: health, own: PartHealth("unknown", "waits for Airflow", status.last_good)}
        if status.last_error is not None:
            return {
                airflow: PartHealth("ok", "answers, not everything", status.last_good),
                own: PartHealth("down", status.last_error, status.last_good, remedy),
            }
        if status.last_good is None:
            return {
                airflow: PartHealth("unknown", "not asked yet"),
                own: PartHealth("unknown", "not compared with the log yet"),
            }
        return {
            airflow: PartHealth("ok", "answers", status.last_good),
            own: PartHealth("ok", compared, status.last_good),
        }

    return report


class ComponentsReport:
    """The report on one Airflow's components. Airflow is asked at most once in COMPONENT_SECONDS."""

    def __init__(self, api: AirflowApi, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._monotonic = monotonic
        self._asking = asyncio.Lock()
        self._asked_at: float | None = None
        self._parts: Mapping[str, PartHealth] = {}

    async def __call__(self) -> Mapping[str, PartHealth]:
        """Return the report, from memory if it is recent."""
        async with self._asking:
            now = self._monotonic()
            if self._asked_at is None or now - self._asked_at >= COMPONENT_SECONDS:
                self._parts = await self._ask()
                self._asked_at = self._monotonic()
        return self._parts

    async def _ask(self) -> dict[str, PartHealth]:
        try:
            found = components(await asyncio.wait_for(self._api.health(), COMPONENT_TIMEOUT))
        except (AirflowError, TimeoutError, asyncio.TimeoutError) as error:  # which the part "airflow" shows
            logger.debug("%s: its components are not known: %s", self._api.deployment, error)
            return {}
        return {f"{component.spelled} {self._api.deployment}": _part(component) for component in found}


def _part(component: Component) -> PartHealth:
    if component.is_healthy:
        return PartHealth("ok", "sends heartbeats", component.heartbeat)
    return PartHealth(
        "down", f"is {component.status}", component.heartbeat, COMPONENT_REMEDY.format(component.spelled)
    )


FRESH = {"Cache-Control": "no-store"}
"""No ETag: a probe takes a 304 for trouble, and what it asks for is how things are at this moment."""
OPEN: dict[str, Any] = {"security": []}
METRICS: dict[str, Any] = {
    "description": "Every number",
    "content": {
        "text/plain": {"schema": {"type": "string"}, "example": "windsock_deliveries_waiting 0.0\n"},
    },
}


class LivenessResponse(ResponseModel):
    """The answer of `/livez`."""

    model_config = example(status="ok")
    status: Literal["ok", "down"]


class ReadinessResponse(LivenessResponse):
    """The answer of `/readyz`."""

    model_config = example(status="ok", written_seconds_ago=3.2)
    written_seconds_ago: float | None = Field(
        description="Age of the latest write that got through; null if none has yet"
    )


class PartHealthResponse(ResponseModel):
    """The health of one part."""

    status: Literal["ok", "down", "unknown"]
    detail: str
    at: datetime | None = Field(description="When it was last known to be well")
    remedy: str | None = Field(description="What to do, where something is to be done")


class HealthResponse(LivenessResponse):
    """The answer of `/health`."""

    model_config = example(
        status="ok", parts={"database": {"status": "ok", "detail": "sqlite", "at": None, "remedy": None}}
    )
    parts: dict[str, PartHealthResponse] | None = Field(
        None, description="Each part; absent for who is not signed in"
    )


NOT_READY: Answers = {
    503: {"description": "The database cannot be read or written", "model": ReadinessResponse}
}
DOWN: Answers = {503: {"description": "Some part does not work", "model": HealthResponse}}

NO_HOOK = PartHealth(
    "unknown", "no hook has reported lately; what hooks do not report, the reconciler fills in"
)
LOOKED_AT = 50  # events, the latest, among which a hook's report is looked for
MAX_LOOKED_AT = 1024 * 1024  # bytes of their bodies: usual ones have 1,000 each
SPOOL_REMEDY = "Look at the log of Airflow's scheduler for the plugin's warnings: can it reach the monitor?"
LATELY = timedelta(days=1)  # by then a person has looked, or was notified by other means
LATE = 60.0  # seconds between what happened and its report: a spool that could send would not wait so long

router = APIRouter(tags=["health"])


@router.get("/livez", response_model=LivenessResponse, operation_id="getLiveness", openapi_extra=OPEN)
async def livez() -> dict[str, str]:
    """Answer that the process works. (It ends if work dies without which it takes or sends nothing.)"""
    return {"status": "ok"}


@router.get(
    "/readyz",
    response_model=ReadinessResponse,
    operation_id="getReadiness",
    openapi_extra=OPEN,
    responses=NOT_READY,
)
async def readyz(services: ProbedServicesDep) -> JSONResponse:
    """Answer whether the database can be read and written, so that requests and events can be served."""
    part = (await _database(services))["database"]
    age = services.write_check.result.age
    answer = {"status": part.status, "written_seconds_ago": None if age is None else round(age, 1)}
    return JSONResponse(answer, 200 if part.status == "ok" else 503, FRESH)


@router.get(
    "/health",
    response_model=HealthResponse,
    operation_id="getHealth",
    openapi_extra={"security": [{}, {"session": []}, {"bearer": []}]},
    responses={**DOWN, **problems(421, *SERVER)},
)
async def health(services: ProbedServicesDep, principal: OptionalPrincipal) -> JSONResponse:
    """Return every part's health, and 503 if one does not work. Details are for signed-in readers."""
    allowed_dags = await services.authenticator.get_permissions(principal) if principal else frozenset()
    parts = await check(services, allowed_dags, has_details=principal is not None)
    down = any(part.status == "down" for part in parts.values())
    answer: dict[str, Any] = {"status": "down" if down else "ok"}
    if principal is not None:
        answer["parts"] = {name: _format_part(part) for name, part in parts.items()}
    return JSONResponse(answer, 503 if down else 200, FRESH)


@router.get(
    "/metrics",
    response_class=Response,
    operation_id="getMetrics",
    openapi_extra=OPEN,
    responses={200: METRICS, **problems(421, *SERVER)},
)
async def metrics(services: ServicesDep) -> Response:
    """Return the metrics in Prometheus' text format."""
    text = await run_in_threadpool(generate_latest, services.metrics.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


async def check(
    services: Services, allowed_dags: AllowedDags, has_details: bool = True
) -> dict[str, PartHealth]:
    """Return every part's health for a reader.
    An Airflow's problem may name DAGs.
    Without details no event is read. Events show how late hooks report, which is never trouble by itself."""
    parts = await _database(services)
    if has_details:
        parts |= await _ask(partial(_hooks, services))
    for report in await asyncio.gather(*map(_ask, services.reports)):
        parts |= report
    if allowed_dags is not None:
        parts = {name: _discreet(name, part) for name, part in parts.items()}
    if not any(name.startswith(AIRFLOW) for name in parts):
        parts[AIRFLOW] = PartHealth("unknown", "not asked: WINDSOCK_AIRFLOW_URL is not set")
    return {"spool": NO_HOOK} | parts


async def _ask(report: Report) -> Mapping[str, PartHealth]:
    try:
        return await report()
    except SQLAlchemyError as error:  # which the part "database" reports
        logger.warning("how a part is could not be read: %s", error)
        return {}


RECENT_SECONDS = 2 * WRITE_SECONDS
"""The age below which a write's time is not shown: a page that always changes is never answered 304."""


WITHOUT_NUMBERS = {
    ("log", "ok"): "keeps the events",
    ("mail", "ok"): "takes mails",
    ("mail", "down"): "did not take the last mail, it is tried again",
    ("deliveries", "ok"): f"none was given up in the last {span(LATELY)}",
    ("deliveries", "down"): f"some were given up in the last {span(LATELY)}",
    ("templates", "down"): "some cannot be used",
    ("spool", "ok"): "hooks report in time",
    ("spool", "unknown"): "no hook has reported lately, or the latest report came late",
}
"""The texts for readers of some DAGs. They replace details that count or date what happens to all DAGs."""


def _discreet(name: str, part: PartHealth) -> PartHealth:
    if text := WITHOUT_NUMBERS.get((name, part.status)):
        return replace(part, detail=text, at=None)
    is_public = part.status != "down" or not name.startswith((f"{AIRFLOW} ", RECONCILER, BACKGROUND))
    return part if is_public else replace(part, detail="cannot be compared with the log")


async def _hooks(services: Services) -> dict[str, PartHealth]:
    return {"spool": await services.database.read(_spool)}


async def _database(services: Services) -> dict[str, PartHealth]:
    now = services.clock()
    try:
        parts = await services.database.read(
            lambda connection: _load_parts(connection, services.settings.smtp_host, now)
        )
    except SQLAlchemyError as error:
        text = f"cannot be read: {type(error).__name__}"
        return {"database": PartHealth("down", text, remedy=_database_remedy(services))}
    return parts | {"database": _assess_writes(services, parts["database"])}


def _assess_writes(services: Services, read: PartHealth) -> PartHealth:
    """Return the health of writing, by the latest result. Asking does not write."""
    result = services.write_check.result
    ago = "" if result.age is None else f", written {span(timedelta(seconds=result.age))} ago"
    if result.error:
        text = f"nothing can be written: {result.error}{ago}"
        return PartHealth("down", text, remedy=_database_remedy(services))
    if result.is_stale:
        text = f"writes wait and do not get through{ago}"
        return PartHealth("down", text, remedy=_database_remedy(services))
    if result.age is not None and result.age < RECENT_SECONDS:
        ago = f", written less than {RECENT_SECONDS:.0f} s ago"
    return replace(read, detail=read.detail + ago)


def _database_remedy(services: Services) -> str:
    if services.settings.shares_database:
        return (
            "Look at PostgreSQL: is it up, is its disk full, is it read-only (a standby, "
            "default_transaction_read_only), or is it locked? Plugins keep their events meanwhile."
        )
    return (
        f"Make room on the disk of {services.settings.home}, and end what holds windsock.db open (a backup "
        "by copying: use `windsock backup`). Plugins keep their events meanwhile."
    )


def _load_parts(connection: Connection, smtp_host: str | None, now: datetime) -> dict[str, PartHealth]:
    log = cursor.state(connection)
    return {
        "database": PartHealth("ok", connection.dialect.name),
        "log": PartHealth("ok", f"{log.last_seq - log.pruned_seq} of {log.last_seq} events kept"),
        "mail": _mail(connection, smtp_host),
        "deliveries": _deliveries(connection, now),
    }


def _deliveries(connection: Connection, now: datetime) -> PartHealth:
    """Return the health of deliveries. A dead delivery reaches no one until a person acts."""
    dead = queries.count_dead(connection, now - LATELY)
    if not dead:
        return PartHealth("ok", f"none was given up in the last {span(LATELY)}")
    remedy = "The page Deliveries, state dead, says why for each. Mend that, then press Resend on it."
    return PartHealth("down", f"{dead} were given up in the last {span(LATELY)}", remedy=remedy)


def _spool(connection: Connection) -> PartHealth:
    """Return the health of the spools, which lie with Airflow. The latest report's delay shows it."""
    for logged in event_log_read.read_before(connection, None, LOOKED_AT, Filter(), most_bytes=MAX_LOOKED_AT):
        event = next((event for _, event in event_log_read.parse_each([logged])), None)
        if event is not None and event.get("reported_by") == "listener":
            late = logged.received_at - event.time
            if late.total_seconds() > LATE:
                text = f"the latest report of a hook came {span(late)} late: it waited in the spool"
                return PartHealth("unknown", text, logged.received_at, SPOOL_REMEDY)
            return PartHealth("ok", f"hooks report within {span(late)}", logged.received_at)
    return NO_HOOK


def _mail(connection: Connection, smtp_host: str | None) -> PartHealth:
    """Return the health of mail: down while one waits after a failed attempt. Its page has the reason."""
    counts = queries.counts(connection)
    text = ", ".join(f"{number} {state.value}" for state, number in counts.items() if number)
    where = smtp_host or "embedded mailbox"
    pending = queries.deliveries(connection, MAX_PAGE, delivery_filter=DeliveryFilter(state=State.PENDING))
    if any(delivery.attempts for delivery in pending):
        remedy = "A waiting delivery's page has the server's answer; `windsock check` tries the server."
        return PartHealth(
            "down", f"{where} did not take the last mail, it is tried again; {text}", None, remedy
        )
    return PartHealth("ok", f"{where}: {text or 'none was called for yet'}")


def _format_part(part: PartHealth) -> Mapping[str, Any]:
    at = part.at.isoformat() if part.at else None
    return {"status": part.status, "detail": part.detail, "at": at, "remedy": part.remedy or None}
