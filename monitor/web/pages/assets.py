"""The pages of assets."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import Field
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor.database.statements import Row, fit
from monitor.event_log.filters import AllowedDags
from monitor.event_log.projections import assets as assets_projection
from monitor.event_log.projections import dags
from monitor.event_log.projections.assets import AssetName, AssetUpdate
from monitor.events.data import MAX_LABEL
from monitor.events.identity import spoken
from monitor.rules.model import Watch
from monitor.watches.assets import STALE
from monitor.watches.observation import tags_of
from monitor.watches.thresholds import ENOUGH, HISTORY, WatchSelector, unusual_after
from monitor.web.airflow_lookups import NOT_NAMED, AssetLineage
from monitor.web.api.runs import InPath
from monitor.web.dependencies import PagePrincipal
from monitor.web.pages.events import live
from monitor.web.query_params import MAX_PAGE, Name, Paged
from monitor.web.responses import MAX_HTML_BYTES, cut_page
from monitor.web.services import ServicesDep, whose_of
from monitor.web.templating import render

KIND = STALE.rpartition(".")[2]
USUAL = Watch(name="usual", watch="stale", floor=timedelta(0))
"""The measure for an asset without a watch: the watch's own, against the asset's own history."""


@dataclass(frozen=True)
class Freshness:
    """The freshness of an asset."""

    state: str
    """The state that the pill shows: ok, uncertain, failed, unknown."""
    word: str
    why: str
    """The reason in one sentence."""
    rhythm: timedelta | None
    """The median from one update to the next. None if too little is known."""
    watch: Watch | None = None


def freshness(
    watches: Sequence[Watch], row: Row, gaps: Sequence[timedelta], dag: Row | None, now: datetime
) -> Freshness:
    """Return an asset's freshness.
    `row` holds deployment, uri, name, updated_at and source_dag_id. `dag` is what is known of that DAG."""
    updated_at: datetime | None = row["updated_at"]
    if updated_at is None:
        return Freshness("unknown", "never updated", "No update of it has been reported.", None)
    choice = WatchSelector(watches, KIND, row["deployment"])
    watch = choice.find_for_asset(row["name"], row["uri"], row["source_dag_id"], tags_of(dag))
    age = max(now - updated_at, timedelta(0))
    rhythm = timedelta(seconds=median(gap.total_seconds() for gap in gaps)) if gaps else None
    state, label, why = _assess(watch, age, gaps, _rest_reason(dag))
    return Freshness(state, label, why, rhythm, watch)


def _assess(
    watch: Watch | None, age: timedelta, gaps: Sequence[timedelta], at_rest: str
) -> tuple[str, str, str]:
    by = watch or USUAL
    bound = by.after if by.after is not None else _usual(by, gaps)
    basis = f"the watch {watch.name}" if watch else "its own rhythm"
    if at_rest and watch:
        return "skipped", "at rest", f"Not watched: {at_rest}."
    if bound is None:
        return "unknown", "too early to say", f"Its rhythm is known from {ENOUGH + 1} updates on."
    if age <= bound:
        return "ok", "fresh", f"By {basis} it may be {spoken(bound)} old."
    if watch:
        return "failed", "stale", f"By {basis} it may be {spoken(bound)} old."
    return "uncertain", "later than usual", f"By {basis} it is updated within {spoken(bound)}."


def _usual(watch: Watch, gaps: Sequence[timedelta]) -> timedelta | None:
    unusual = unusual_after(gaps, watch.floor, watch.spreads)
    return unusual.after if unusual else None


def _rest_reason(dag: Row | None) -> str:
    """Return why the watch leaves the asset alone, or ""."""
    if dag is None:
        return ""
    if dag["is_stale"]:
        return "its DAG has disappeared from its file"
    return "its DAG is paused" if dag["is_paused"] else ""


MAX_METRICS = 24  # columns of the table, and charts: more is no table for people, and the API has them all
MAX_PARTIES = 100  # DAGs that make an asset, or begin by it, as a page lists them
HASH = "sha256"

router = APIRouter(include_in_schema=False)


class AssetQuery(Paged):
    """The query of an asset's page."""

    uri: Name = Field(description="The asset's URI, as it is")


@dataclass(frozen=True)
class Party:
    """A maker or consumer of an asset."""

    dag_id: str
    task_id: str | None
    run_id: str | None = None
    """The last run that did, or that came of it."""
    at: datetime | None = None
    named: bool = False
    """Airflow names it at present."""


@router.get("/assets")
async def assets(
    request: Request, services: ServicesDep, principal: PagePrincipal, query: Annotated[Paged, Query()]
) -> HTMLResponse:
    """Show every asset with what its last update reported, the last to change first."""
    allowed_dags, now = await services.authenticator.get_permissions(principal), services.clock()
    watches = services.rules.current.config.watches

    def load(connection: Connection) -> dict[str, Any]:
        found = assets_projection.asset_list(connection, query.limit + 1, query.cursor, allowed_dags)
        rows, following = cut_page(found, query.limit, lambda row: int(row["last_seq"]))
        judged = [(row, _fresh(connection, watches, row, allowed_dags, now)) for row in rows]
        return live(connection) | {"assets": judged, "next": following}

    values = await services.database.read(load)
    return render(request, "assets.html", principal, is_first=query.cursor is None, **values)


def _fresh(
    connection: Connection, watches: tuple[Watch, ...], row: Row, allowed_dags: AllowedDags, now: datetime
) -> Freshness:
    name = AssetName(row["deployment"], row["uri"])
    gaps = assets_projection.asset_gaps(connection, name, HISTORY, allowed_dags)
    return freshness(watches, row, gaps, _dag_of(connection, row), now)


def _dag_of(connection: Connection, row: Row) -> Row | None:
    dag_id = row["source_dag_id"]
    return dags.dag(connection, row["deployment"], dag_id) if dag_id else None


@router.get("/assets/{deployment}")
async def asset(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    deployment: InPath,
    query: Annotated[AssetQuery, Query()],
) -> HTMLResponse:
    """Show one asset. Its URI is a parameter, because it holds slashes and every other sign."""
    name, now = AssetName(deployment, query.uri), services.clock()
    allowed_dags = await services.authenticator.get_permissions(principal)
    watches = services.rules.current.config.watches

    def load(connection: Connection) -> dict[str, Any] | None:
        row = assets_projection.asset(connection, name, allowed_dags)
        if row is None:
            return None
        latest = assets_projection.asset_updates(connection, name, HISTORY + 1, allowed_dags=allowed_dags)
        found = assets_projection.asset_updates(connection, name, query.limit + 1, query.cursor, allowed_dags)
        page, following = cut_page(found, query.limit, lambda update: update.seq)
        gaps = assets_projection.asset_gaps(connection, name, HISTORY, allowed_dags)
        fresh = freshness(watches, row, gaps, _dag_of(connection, row), now)
        seen = {"asset": row, "latest": latest, "updates": page, "next": following, "fresh": fresh}
        return live(connection) | seen | {"partitioned": dags.find_partitioned_dags(connection, deployment)}

    values = await services.database.read(load)
    if values is None:
        raise HTTPException(404, f"No asset {query.uri!r} is known of the Airflow {deployment!r}.")
    latest, lineage = (
        values.pop("latest"),
        _filter_lineage(await services.lineage.get(whose_of(request), name), deployment, allowed_dags),
    )
    return render(
        request,
        "asset.html",
        principal,
        **values,
        makers=_makers(latest, lineage),
        consumers=_consumers(latest, lineage),
        known=lineage,
        metrics=_metrics(values["updates"]),
        is_first=query.cursor is None,
        api={"deployment": deployment, "uri": query.uri, "limit": MAX_PAGE},
        hash_name=HASH,
        hashed=any(HASH in update.extra for update in values["updates"]),
    )


def _filter_lineage(lineage: AssetLineage, deployment: str, allowed_dags: AllowedDags) -> AssetLineage:
    if allowed_dags is None or lineage.problem:
        return lineage
    seen = AssetLineage(
        tuple(task for task in lineage.makers if (deployment, task[0]) in allowed_dags),
        tuple(dag_id for dag_id in lineage.scheduled if (deployment, dag_id) in allowed_dags),
        tuple(task for task in lineage.readers if (deployment, task[0]) in allowed_dags),
    )
    return seen if seen.makers or seen.scheduled or seen.readers else NOT_NAMED


def _makers(latest: list[AssetUpdate], lineage: AssetLineage) -> list[Party]:
    """Return the makers of recent updates, the latest first, then those that Airflow names besides."""
    updates = (
        (update.dag_id, update.task_id, update.run_id, update.timestamp) for update in latest if update.dag_id
    )
    return _parties(
        (Party(*update, named=update[:2] in lineage.makers) for update in updates), lineage.makers
    )


def _consumers(latest: list[AssetUpdate], lineage: AssetLineage) -> list[Party]:
    """Return the DAGs whose runs recent updates began, then those that are scheduled on the asset besides."""
    runs = ((run, update.timestamp) for update in latest for run in update.created_runs)
    parties = (
        Party(run["dag_id"], None, run["run_id"], at, run["dag_id"] in lineage.scheduled) for run, at in runs
    )
    return _parties(parties, ((dag_id, None) for dag_id in lineage.scheduled))


def _parties(parties: Iterable[Party], tasks: Iterable[tuple[str, str | None]]) -> list[Party]:
    found: dict[tuple[str, str | None], Party] = {}
    for party in parties:
        found.setdefault((party.dag_id, party.task_id), party)
    for dag_id, task_id in tasks:
        found.setdefault((dag_id, task_id), Party(dag_id, task_id, named=True))
    return fit(found.values(), MAX_PARTIES, MAX_HTML_BYTES)[0]


def _metrics(updates: list[AssetUpdate]) -> list[str]:
    """Return the names of the numbers in these updates, in their order."""
    names = (
        name
        for update in updates
        for name, value in update.extra.items()
        if type(value) in (int, float) and len(name) <= MAX_LABEL
    )
    return list(dict.fromkeys(names))[:MAX_METRICS]
