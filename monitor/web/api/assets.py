"""The updates of one asset, for programs and for the plot on the asset's page."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from monitor.event_log.projections import assets
from monitor.event_log.projections.assets import AssetName
from monitor.web.dependencies import ApiPrincipal
from monitor.web.query_params import Name, Paged
from monitor.web.responses import PROBLEMS, ETagRoute, Paging, ResponseModel, etag_responses, example
from monitor.web.services import ServicesDep

router = APIRouter(prefix="/api/v1/assets", tags=["assets"], responses=PROBLEMS, route_class=ETagRoute)


UPDATE: dict[str, Any] = {
    "seq": 1207,
    "asset_event_id": 42,
    "timestamp": "2026-11-22T10:00:06Z",
    "dag_id": "Airflow_Lab2",
    "run_id": "manual__1",
    "task_id": "build_model",
    "map_index": -1,
    "extra": {"accuracy": 0.9737, "sha256": "9f86d081884c7d65…"},
    "created_runs": [{"dag_id": "release", "run_id": "asset_triggered__1"}],
}


class BegunRun(ResponseModel):
    """A run that an asset's update began."""

    dag_id: str
    run_id: str


class AssetUpdateResponse(ResponseModel):
    """An update of an asset."""

    model_config = example(**UPDATE)
    seq: int
    asset_event_id: int = Field(description="Airflow's number of it")
    timestamp: datetime
    dag_id: str | None = Field(description="Of the run that updated it; null: nobody's, such as a request's")
    run_id: str | None
    task_id: str | None
    map_index: int | None
    extra: dict[str, Any] = Field(description="What the update reported: metrics, hashes, versions")
    created_runs: list[BegunRun] = Field(
        description="The runs that came of it, as far as the reader may see them"
    )


class AssetUpdates(ResponseModel):
    """A page of an asset's updates."""

    model_config = example(updates=[UPDATE], next=None)
    updates: list[AssetUpdateResponse]
    next: int | None = Field(description="The `cursor` of the page behind this one; null: this is the last")


class UpdatesQuery(Paged):
    """The query of an asset's updates."""

    deployment: Name = Field(description="Which Airflow", examples=["local"])
    uri: Name = Field(description="The asset's URI, as it is; no glob", examples=["file:///models/model.pkl"])


@router.get(
    "/updates",
    response_model=AssetUpdates,
    operation_id="listAssetUpdates",
    responses=etag_responses(listed=True),
)
async def updates(
    services: ServicesDep, principal: ApiPrincipal, pager: Paging, query: Annotated[UpdatesQuery, Query()]
) -> dict[str, Any]:
    """Return an asset's updates, newest first, each with what it reported and the runs that it began."""
    allowed_dags = await services.authenticator.get_permissions(principal)
    name = AssetName(query.deployment, query.uri)
    found = await services.database.read(
        lambda connection: assets.asset_updates(connection, name, query.limit + 1, query.cursor, allowed_dags)
    )
    return pager.page("updates", found, query.limit, lambda update: update.seq)
