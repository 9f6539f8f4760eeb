"""The API of runs with their tasks and mails, and of assets."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor.event_log.filters import AllowedDags
from monitor.event_log.projections import assets as assets_projection
from monitor.event_log.projections import runs as runs_projection
from monitor.event_log.projections.runs import RunName
from monitor.notifications.outbox import queries
from monitor.notifications.outbox.queries import DeliveryFilter
from monitor.web.api.models import AssetPage, RunDetail, RunPage
from monitor.web.dependencies import ApiPrincipal
from monitor.web.query_params import MAX_PAGE, Name, Paged, RunsQuery
from monitor.web.responses import PROBLEMS, ETagRoute, Paging, etag_responses, problems
from monitor.web.services import ServicesDep

router = APIRouter(prefix="/api/v1", responses=PROBLEMS, route_class=ETagRoute)
InPath = Annotated[Name, Path()]
DagId = Annotated[Name, Path(description="The DAG", examples=["etl"])]
RunId = Annotated[Name, Path(description="The run; any sign may stand in it", examples=["manual__1"])]
Deployment = Annotated[
    Name | None, Query(description="The Airflow's name. Default: the first one's", examples=["local"])
]


@router.get(
    "/runs",
    response_model=RunPage,
    tags=["runs"],
    operation_id="listRuns",
    responses=etag_responses(listed=True),
)
async def runs(
    services: ServicesDep, principal: ApiPrincipal, pager: Paging, query: Annotated[RunsQuery, Query()]
) -> dict[str, Any]:
    """Runs, the last to change first.

    A run that changes while you read the pages moves to the front.
    """
    rows = await services.database.read(
        lambda connection: runs_projection.run_list(
            connection, query.to_filter(), query.limit + 1, query.cursor, principal.allowed_dags
        )
    )
    return pager.page("runs", rows, query.limit, _last_seq)


@router.get(
    "/runs/{dag_id}/{run_id:path}",
    response_model=RunDetail,
    tags=["runs"],
    operation_id="getRun",
    responses=etag_responses() | problems(404),
)
async def run(
    services: ServicesDep,
    principal: ApiPrincipal,
    dag_id: DagId,
    run_id: RunId,
    deployment: Deployment = None,
) -> dict[str, Any]:
    """One run with the latest try of each task and its mails. A run id may hold any sign, `/` too."""
    name = RunName(deployment or services.settings.deployment, dag_id, run_id)
    detail = await services.database.read(
        lambda connection: run_detail(connection, name, principal.allowed_dags)
    )
    if detail is None:
        raise HTTPException(404, f"no run {run_id!r} of the DAG {dag_id!r} in {name.deployment!r} is known")
    return detail


def run_detail(connection: Connection, name: RunName, allowed_dags: AllowedDags) -> dict[str, Any] | None:
    """A run's row with its tasks and deliveries, or None where there is none that the reader may see."""
    if allowed_dags is not None and (name.deployment, name.dag_id) not in allowed_dags:
        return None
    row = runs_projection.run(connection, name)
    if row is None:
        return None
    mails = queries.deliveries(
        connection, MAX_PAGE, delivery_filter=DeliveryFilter(**vars(name)), allowed_dags=allowed_dags
    )
    return row | {"tasks": runs_projection.tasks(connection, name), "deliveries": mails}


@router.get(
    "/assets",
    response_model=AssetPage,
    tags=["assets"],
    operation_id="listAssets",
    responses=etag_responses(listed=True),
)
async def assets(
    services: ServicesDep, principal: ApiPrincipal, pager: Paging, query: Annotated[Paged, Query()]
) -> dict[str, Any]:
    """Assets with what their last update reported, the last to change first."""
    rows = await services.database.read(
        lambda connection: assets_projection.asset_list(
            connection, query.limit + 1, query.cursor, principal.allowed_dags
        )
    )
    return pager.page("assets", rows, query.limit, _last_seq)


def _last_seq(row: dict[str, Any]) -> int:
    return int(row["last_seq"])
