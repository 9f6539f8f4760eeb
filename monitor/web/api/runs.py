"""The API of runs with their tasks and mails, and of assets."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor.database.statements import MAX_PAGE_BYTES
from monitor.event_log.filters import AllowedDags
from monitor.event_log.projections import assets as assets_projection
from monitor.event_log.projections import runs as runs_projection
from monitor.event_log.projections.runs import RunName, TaskPlace
from monitor.notifications.outbox import queries
from monitor.notifications.outbox.queries import DeliveryFilter
from monitor.web.api.models import AssetPage, RunDetail, RunPage
from monitor.web.dependencies import ApiPrincipal
from monitor.web.query_params import MAX_PAGE, Name, Paged, RunsQuery
from monitor.web.responses import (
    MAX_HTML_BYTES,
    PROBLEMS,
    ETagRoute,
    Paging,
    cut_page,
    etag_responses,
    problems,
)
from monitor.web.services import ServicesDep

router = APIRouter(prefix="/api/v1", responses=PROBLEMS, route_class=ETagRoute)
InPath = Annotated[Name, Path()]
DagId = Annotated[Name, Path(description="The DAG", examples=["etl"])]
RunId = Annotated[Name, Path(description="The run, whose id may hold any signs", examples=["manual__1"])]
_TASK_CURSOR = re.compile(r"([01])\.(-?[0-9]{1,9})\.(.+)", re.DOTALL)


class TaskCursorQuery(BaseModel):
    """The place at which a page of a run's tasks begins."""

    cursor: Name | None = Field(
        None, description="`next` of the page before, or none for the first page", examples=["1.-1.load"]
    )

    @field_validator("cursor")
    @classmethod
    def _check_cursor(cls, cursor: str | None) -> str | None:
        if cursor is not None and not _TASK_CURSOR.fullmatch(cursor):
            raise ValueError("is no `next` of a page of tasks, such as 1.-1.load")
        return cursor

    @property
    def after(self) -> TaskPlace | None:
        """The place behind which the page begins, or None."""
        found = _TASK_CURSOR.fullmatch(self.cursor) if self.cursor else None
        return TaskPlace(found[1] == "1", found[3], int(found[2])) if found else None


class TasksQuery(TaskCursorQuery):
    """The query of a run's tasks."""

    model_config = ConfigDict(extra="forbid")
    deployment: Name | None = Field(
        None, description="The Airflow's name. Default: the first one's", examples=["local"]
    )
    limit: int = Field(MAX_PAGE, ge=1, le=MAX_PAGE, description="Tasks of a page", examples=[MAX_PAGE])


def task_cursor(place: TaskPlace | None) -> str | None:
    """Return the cursor of the page behind a place: the map_index, which has no dot, before the task_id."""
    return place and f"{place.is_later:d}.{place.map_index}.{place.task_id}"


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
    """Return runs, the last to change first.

    A run that changes while you read the pages moves to the front."""
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
    responses=etag_responses(listed=True) | problems(404),
)
async def run(
    services: ServicesDep,
    principal: ApiPrincipal,
    pager: Paging,
    dag_id: DagId,
    run_id: RunId,
    query: Annotated[TasksQuery, Query()],
) -> dict[str, Any]:
    """Return one run with the latest try of each task and its mails.
    A run id may hold any sign, `/` too.

    Tasks come in pages: those that failed, run or wait for their next try first. A task whose state changes
    while you read the pages may change its page."""
    name = RunName(query.deployment or services.settings.deployment, dag_id, run_id)
    detail = await services.database.read(
        lambda connection: run_detail(connection, name, principal.allowed_dags, query.limit, query.after)
    )
    if detail is None:
        raise HTTPException(404, f"no run {run_id!r} of the DAG {dag_id!r} in {name.deployment!r} is known")
    return detail | pager.cut("tasks", detail["tasks"], detail["next"])


def run_detail(
    connection: Connection,
    name: RunName,
    allowed_dags: AllowedDags,
    limit: int = MAX_PAGE,
    after: TaskPlace | None = None,
    most: int = MAX_PAGE_BYTES,
    task_id: str | None = None,
) -> dict[str, Any] | None:
    """Return a run's row with a page of its tasks, of `most` bytes, and with its latest deliveries.
    None means that the reader may not see the run, or that it does not exist."""
    if allowed_dags is not None and (name.deployment, name.dag_id) not in allowed_dags:
        return None
    row = runs_projection.run(connection, name)
    if row is None:
        return None
    page = runs_projection.task_page(connection, name, limit, after, most, task_id)
    mails = queries.deliveries(
        connection, MAX_PAGE + 1, delivery_filter=DeliveryFilter(**vars(name)), allowed_dags=allowed_dags
    )
    latest, older = cut_page(mails, MAX_PAGE, lambda mail: mail.id, MAX_HTML_BYTES)
    return row | {
        "tasks": page.tasks,
        "next": task_cursor(page.following),
        "deliveries": latest,
        "next_deliveries": older,
    }


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
    """Return assets with what their last update reported, the last to change first."""
    rows = await services.database.read(
        lambda connection: assets_projection.asset_list(
            connection, query.limit + 1, query.cursor, principal.allowed_dags
        )
    )
    return pager.page("assets", rows, query.limit, _last_seq)


def _last_seq(row: dict[str, Any]) -> int:
    return int(row["last_seq"])
