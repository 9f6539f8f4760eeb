"""`/health` for people and alerts, `/livez` and `/readyz` for what restarts and routes, `/metrics`.

Without sign-in a caller learns from /health only whether all is well. /metrics is open: it holds numbers,
and no name of a DAG, a run or a person; scrapers have no Airflow token.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from monitor import event_log, outbox
from monitor.database.write_check import WRITE_SECONDS
from monitor.event_log import Filter, Visible
from monitor.outbox import State, Wanted
from monitor.render.words import span
from monitor.web.answers import SERVER, problems
from monitor.web.health_reports import AIRFLOW, BACKGROUND, RECONCILER
from monitor.web.health_told import DOWN, FRESH, METRICS, NOT_READY, OPEN, Alive, Health, Ready
from monitor.web.querying import MAX_PAGE
from monitor.web.reader import MaybeReader
from monitor.web.services import Here, PartHealth, Report, Services

NO_HOOK = PartHealth(
    "unknown", "no hook has reported lately; what hooks do not report, the reconciler fills in"
)
LOOKED_AT = 50  # events, the latest, among which a hook's report is looked for
MAX_LOOKED_AT = 1024 * 1024  # characters of their bodies; usual ones have 1,000 each
SPOOL_REMEDY = "Look at the log of Airflow's scheduler for the plugin's warnings: can it reach the monitor?"
LATELY = timedelta(days=1)  # until then somebody has looked, or was told by other means
LATE = 60.0  # seconds between what happened and its report: a spool that could send would not wait so long

logger = logging.getLogger(__name__)

router = APIRouter(tags=["health"])


@router.get("/livez", response_model=Alive, operation_id="getLiveness", openapi_extra=OPEN)
async def livez() -> dict[str, str]:
    """The process answers. (It ends by itself when work dies without which it takes or sends nothing.)"""
    return {"status": "ok"}


@router.get(
    "/readyz",
    response_model=Ready,
    operation_id="getReadiness",
    openapi_extra=OPEN,
    responses=NOT_READY,
)
async def readyz(here: Here) -> JSONResponse:
    """The database can be read and written, so requests can be served and events be taken in."""
    part = (await _database(here))["database"]
    age = here.write_check.result.age
    answer = {"status": part.status, "written_seconds_ago": None if age is None else round(age, 1)}
    return JSONResponse(answer, 200 if part.status == "ok" else 503, FRESH)


@router.get(
    "/health",
    response_model=Health,
    operation_id="getHealth",
    openapi_extra={"security": [{}, {"session": []}, {"bearer": []}]},
    responses={**DOWN, **problems(421, *SERVER)},
)
async def health(here: Here, reader: MaybeReader) -> JSONResponse:
    """Every part, and 503 where one does not work. Details are for those who are signed in."""
    sight = await here.gate.sight(reader) if reader else frozenset()
    parts = await check(here, sight, has_details=reader is not None)
    down = any(part.status == "down" for part in parts.values())
    answer: dict[str, Any] = {"status": "down" if down else "ok"}
    if reader is not None:
        answer["parts"] = {name: _told(part) for name, part in parts.items()}
    return JSONResponse(answer, 503 if down else 200, FRESH)


@router.get(
    "/metrics",
    response_class=Response,
    operation_id="getMetrics",
    openapi_extra=OPEN,
    responses={200: METRICS, **problems(421, *SERVER)},
)
async def metrics(here: Here) -> Response:
    """Prometheus' text format."""
    text = await run_in_threadpool(generate_latest, here.metrics.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


async def check(here: Services, sight: Visible, has_details: bool = True) -> dict[str, PartHealth]:
    """How every part is, for a reader of this sight: what went wrong with an Airflow may name DAGs.

    Without details no event is read: they would tell how late hooks report, which is never trouble by itself.
    """
    parts = await _database(here)
    if has_details:
        parts |= await _ask(partial(_hooks, here))
    for told in await asyncio.gather(*map(_ask, here.reports)):
        parts |= told
    if sight is not None:
        parts = {name: _discreet(name, part) for name, part in parts.items()}
    if not any(name.startswith(AIRFLOW) for name in parts):
        parts[AIRFLOW] = PartHealth("unknown", "not asked: WINDSOCK_AIRFLOW_URL is not set")
    return {"spool": NO_HOOK} | parts


async def _ask(report: Report) -> Mapping[str, PartHealth]:
    try:
        return await report()
    except SQLAlchemyError as error:  # which the part "database" tells
        logger.warning("how a part is could not be read: %s", error)
        return {}


RECENT_SECONDS = 2 * WRITE_SECONDS
"""A younger write is not told to the second: a page that changes with each look is never answered 304."""


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
"""What a reader of some DAGs is told of parts whose details count, or date, what happens to all of them."""


def _discreet(name: str, part: PartHealth) -> PartHealth:
    if words := WITHOUT_NUMBERS.get((name, part.status)):
        return replace(part, detail=words, at=None)
    known = part.status != "down" or not name.startswith((f"{AIRFLOW} ", RECONCILER, BACKGROUND))
    return part if known else replace(part, detail="cannot be compared with the log")


async def _hooks(here: Services) -> dict[str, PartHealth]:
    return {"spool": await here.database.read(_spool)}


async def _database(here: Services) -> dict[str, PartHealth]:
    now = here.clock()
    try:
        parts = await here.database.read(lambda connection: _look(connection, here.settings.smtp_host, now))
    except SQLAlchemyError as error:
        said = f"cannot be read: {type(error).__name__}"
        return {"database": PartHealth("down", said, remedy=_database_remedy(here))}
    return parts | {"database": _written(here, parts["database"])}


def _written(here: Services, read: PartHealth) -> PartHealth:
    """How writing goes, by the latest result: asking does not write."""
    result = here.write_check.result
    ago = "" if result.age is None else f", written {span(timedelta(seconds=result.age))} ago"
    if result.error:
        said = f"nothing can be written: {result.error}{ago}"
        return PartHealth("down", said, remedy=_database_remedy(here))
    if result.is_stale:
        said = f"writes wait and do not get through{ago}"
        return PartHealth("down", said, remedy=_database_remedy(here))
    if result.age is not None and result.age < RECENT_SECONDS:
        ago = f", written less than {RECENT_SECONDS:.0f} s ago"
    return replace(read, detail=read.detail + ago)


def _database_remedy(here: Services) -> str:
    if here.settings.shares_database:
        return (
            "Look at PostgreSQL: is it up, is its disk full, is it read-only (a standby, "
            "default_transaction_read_only), or is it locked? Plugins keep their events meanwhile."
        )
    return (
        f"Make room on the disk of {here.settings.home}, and end what holds windsock.db open (a backup by "
        "copying: use `windsock backup`). Plugins keep their events meanwhile."
    )


def _look(connection: Connection, smtp_host: str | None, now: datetime) -> dict[str, PartHealth]:
    log = event_log.state(connection)
    return {
        "database": PartHealth("ok", connection.dialect.name),
        "log": PartHealth("ok", f"{log.last_seq - log.pruned_seq} of {log.last_seq} events kept"),
        "mail": _mail(connection, smtp_host),
        "deliveries": _deliveries(connection, now),
    }


def _deliveries(connection: Connection, now: datetime) -> PartHealth:
    """A delivery that is dead reaches nobody until somebody acts."""
    dead = outbox.count_dead(connection, now - LATELY)
    if not dead:
        return PartHealth("ok", f"none was given up in the last {span(LATELY)}")
    remedy = "The page Deliveries, state dead, says why for each. Mend that, then press Resend on it."
    return PartHealth("down", f"{dead} were given up in the last {span(LATELY)}", remedy=remedy)


def _spool(connection: Connection) -> PartHealth:
    """The spool lies with Airflow's processes; how late the latest report of a hook came tells how it is."""
    for event in event_log.read_before(connection, None, LOOKED_AT, Filter(), most_characters=MAX_LOOKED_AT):
        body = json.loads(event.body)
        if body["data"].get("reported_by") == "listener":
            happened = datetime.fromisoformat(body["time"].replace("Z", "+00:00"))
            late = event.received_at - happened
            if late.total_seconds() > LATE:
                words = f"the latest report of a hook came {span(late)} late: it waited in the spool"
                return PartHealth("unknown", words, event.received_at, SPOOL_REMEDY)
            return PartHealth("ok", f"hooks report within {span(late)}", event.received_at)
    return NO_HOOK


def _mail(connection: Connection, smtp_host: str | None) -> PartHealth:
    """Mail is down while one waits because its last attempt failed; why stands on that mail's own page."""
    counts = outbox.counts(connection)
    told = ", ".join(f"{number} {state.value}" for state, number in counts.items() if number)
    where = smtp_host or "embedded mailbox"
    waiting = outbox.deliveries(connection, MAX_PAGE, wanted=Wanted(state=State.PENDING))
    if any(delivery.attempts for delivery in waiting):
        remedy = "A waiting delivery's page has the server's answer; `windsock check` tries the server."
        return PartHealth(
            "down", f"{where} did not take the last mail, it is tried again; {told}", None, remedy
        )
    return PartHealth("ok", f"{where}: {told or 'none was called for yet'}")


def _told(part: PartHealth) -> Mapping[str, Any]:
    at = part.at.isoformat() if part.at else None
    return {"status": part.status, "detail": part.detail, "at": at, "remedy": part.remedy or None}
