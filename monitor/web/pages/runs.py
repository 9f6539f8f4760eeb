"""The pages of runs, and `/status` and `/api` for the last training run."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor.database.statements import MAX_PAGE_BYTES, Row, fit
from monitor.database.types import read_each
from monitor.event_log import read
from monitor.event_log.filters import AllowedDags, Filter
from monitor.event_log.projections import runs as runs_projection
from monitor.event_log.projections.runs import FIRST_SHOWN, RunName, Strip
from monitor.event_log.projections.state import RUN_ENDS, RUNNING
from monitor.event_log.read import LoggedEvent
from monitor.notifications import incidents
from monitor.notifications.incidents import Incident, IncidentFilter
from monitor.web import openapi_examples, rule_descriptions
from monitor.web.airflow_lookups import NoAnswer
from monitor.web.api.models import RunDetail
from monitor.web.api.runs import InPath, TaskCursorQuery, run_detail
from monitor.web.auth.authenticator import Principal
from monitor.web.dependencies import ApiPrincipal, PagePrincipal
from monitor.web.pages.events import airflow_url, drop_empty, lines, live
from monitor.web.pages.run_timeline import MAX_LINES, chart_of, earlier_tries, fold
from monitor.web.query_params import MAX_PAGE, ListFilters, Name, RunsQuery, list_filters
from monitor.web.responses import (
    MAX_HTML_BYTES,
    PROBLEMS,
    ETagRoute,
    ResponseModel,
    cut_page,
    etag_responses,
    example,
)
from monitor.web.services import Services, ServicesDep, while_wanted, whose_of
from monitor.web.templating import render

TRAINING_DAG = "Airflow_Lab2"  # the lab's DAG (dags/training.py). `?dag_id=` shows any other
LOOKED_THROUGH = 100  # of the DAG's latest runs, for one that has ended
MAX_ASSETS = 100  # updates by one run that are shown

status_router = APIRouter(route_class=ETagRoute)


class StatusQuery(BaseModel):
    """The query of the status page."""

    model_config = ConfigDict(extra="forbid")
    dag_id: Name = Field(TRAINING_DAG, description="The DAG", examples=[TRAINING_DAG])


class Status(ResponseModel):
    """The DAG's last run that has ended. `run` is null before the first such run."""

    model_config = example(**openapi_examples.STATUS)
    dag_id: str
    run: RunDetail | None
    metrics: dict[str, dict[str, Any]] = Field(
        description="What the run reported of each asset that it updated, by the asset's name"
    )
    running: str | None = Field(description="A later run, which is under way: its run id")


def load_status(
    connection: Connection,
    dag_id: str,
    allowed_dags: AllowedDags,
    limit: int = MAX_PAGE,
    most: int = MAX_PAGE_BYTES,
) -> dict[str, Any]:
    """Return the content of the status page and of its API, with a page of the run's tasks."""
    runs = runs_projection.runs(connection, LOOKED_THROUGH, dag_id=dag_id, allowed_dags=allowed_dags)
    ended = next((run for run in runs if run["state"] in RUN_ENDS), None)
    running = next((run["run_id"] for run in runs if run["state"] == RUNNING), None)
    if ended is None:
        return {"dag_id": dag_id, "run": None, "metrics": {}, "running": running}
    name = RunName(ended["deployment"], ended["dag_id"], ended["run_id"])
    detail = run_detail(connection, name, allowed_dags, limit, most=most)
    return {
        "dag_id": dag_id,
        "run": detail,
        "metrics": _metrics(connection, name, allowed_dags),
        "running": running,
    }


def _metrics(connection: Connection, name: RunName, allowed_dags: AllowedDags) -> dict[str, dict[str, Any]]:
    event_filter = Filter.from_values(
        type=["airflow.asset.updated"], **{key: [value] for key, value in vars(name).items()}
    )
    found = read.read_before(connection, None, MAX_ASSETS, event_filter, allowed_dags, MAX_HTML_BYTES)
    return dict(read_each("events", reversed(found), _name_and_extra))


def _name_and_extra(logged: LoggedEvent) -> tuple[str, dict[str, Any]]:
    data = read.data_of(logged)
    return data["asset"]["name"], data.get("extra", {})


@status_router.get(
    "/api",
    response_model=Status,
    responses=PROBLEMS | etag_responses(),
    tags=["runs"],
    operation_id="getStatus",
)
async def status(
    services: ServicesDep, principal: ApiPrincipal, query: Annotated[StatusQuery, Query()]
) -> dict[str, Any]:
    """Return the last training run that has ended: its result, tasks, mails and metrics."""
    return await services.database.read(
        lambda connection: load_status(connection, query.dag_id, principal.allowed_dags)
    )


@status_router.get("/status", include_in_schema=False)
async def status_page(
    request: Request, services: ServicesDep, principal: PagePrincipal, query: Annotated[StatusQuery, Query()]
) -> HTMLResponse:
    """Show the last training run that has ended."""
    values = await services.database.read(
        lambda connection: (
            load_status(connection, query.dag_id, principal.allowed_dags, MAX_LINES, MAX_HTML_BYTES)
            | live(connection)
        )
    )
    run = values["run"]
    if run is None:
        return render(request, "no_run.html", principal, **values)
    page = "success.html" if run["state"] == "success" else "failure.html"
    return render(request, page, principal, airflow=airflow_url(services, run["deployment"]), **values)


RUN_EVENTS = 200  # of a run's events, the latest
RUN_UPDATES = 50  # assets that one run updated
LOOKED_AT = 20  # incidents of a DAG, the latest, among which the run's own is looked for
MAX_TRY = 10_000  # Airflow counts no further, and a log's address stays short
UPDATED = "airflow.asset.updated"
STATES = ("running", "success", "failed")
TYPES = ("scheduled", "manual", "asset_triggered", "backfill")

router = APIRouter(include_in_schema=False)


class RunsForm(RunsQuery):
    """The same as a form sends it, with fields that were left empty and moments without a zone: UTC."""

    @field_validator("deployment", "dag_id", "state", "run_type", "since", "until", "search", mode="before")
    @classmethod
    def _drop_empty(cls, value: Any) -> Any:
        return drop_empty(value)


class RunPageQuery(TaskCursorQuery):
    """The query of a run's page.
    With `task_id`, the instances of one mapped task are shown one by one, otherwise every task, folded."""

    model_config = ConfigDict(extra="forbid")
    task_id: Name | None = None


class TryQuery(BaseModel):
    """The query of a try of a task."""

    model_config = ConfigDict(extra="forbid")
    task_id: Name
    map_index: int = Field(-1, ge=-1, le=2**31 - 1)
    try_number: int = Field(1, ge=0, le=MAX_TRY)


@router.get("/runs")
async def runs(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    list_query: Annotated[ListFilters[RunsForm], Depends(list_filters(RunsForm, {"state": STATES}))],
) -> HTMLResponse:
    """Show the runs that changed last, filtered and searched, page by page."""
    query = list_query.query

    def load(connection: Connection) -> dict[str, Any]:
        found = runs_projection.run_list(
            connection, query.to_filter(), query.limit + 1, query.cursor, principal.allowed_dags
        )
        page, following = cut_page(
            with_strips(connection, found), query.limit, lambda row: int(row[0]["last_seq"])
        )
        return live(connection) | {"runs": page, "next": following}

    values = await services.database.read(load)
    if list_query.mistakes:
        values |= {"runs": [], "next": None}
    filters = query.model_dump(mode="json", exclude={"cursor", "limit"}, exclude_defaults=True)
    feed = {name: filters[name] for name in ("deployment", "dag_id") if name in filters}
    return render(
        request,
        "runs.html",
        principal,
        status=list_query.status,
        mistakes=list_query.mistakes,
        given=filters,
        feed=feed | {"type": "airflow.dag_run.*"},
        is_first=query.cursor is None and not list_query.mistakes,
        states=STATES,
        run_types=TYPES,
        **values,
    )


def with_strips(connection: Connection, found: Iterable[Row]) -> Iterator[tuple[Row, Strip]]:
    """Yield each run with the strip of its tasks."""
    return ((run, runs_projection.strip(connection, name_of(run))) for run in found)


def name_of(run: Mapping[str, Any]) -> RunName:
    """Return the run's identity."""
    return RunName(run["deployment"], run["dag_id"], run["run_id"])


@router.get("/runs/{deployment}/{dag_id}/{run_id:path}")
async def run(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    deployment: InPath,
    dag_id: InPath,
    run_id: InPath,
    query: Annotated[RunPageQuery, Query()],
) -> HTMLResponse:
    """Show one run: its timeline, its tasks with their errors page by page, its mails, assets and events."""
    name = RunName(deployment, dag_id, run_id)
    allowed_dags = await services.authenticator.get_permissions(principal)

    def load(connection: Connection) -> dict[str, Any] | None:
        detail = run_detail(
            connection,
            name,
            principal.allowed_dags,
            limit=MAX_LINES,
            after=query.after,
            most=MAX_HTML_BYTES,
            task_id=query.task_id,
        )
        if detail is None:
            return None
        counts = runs_projection.count_instances(
            connection, name, {task["task_id"] for task in detail["tasks"]}
        )
        if query.task_id is None:
            tasks = fold(detail["tasks"], counts)
            is_whole = query.after is None and detail["next"] is None
            task_counts = {} if is_whole else runs_projection.count_tasks(connection, name)
        else:
            tasks = sorted(detail["tasks"], key=_instance_order)
            task_counts = counts.get(query.task_id, {})
        earlier = earlier_tries(connection, name, tasks)
        logged = _find_events(connection, name, RUN_EVENTS + 1, principal.allowed_dags)
        events, has_more_events = fit(lines(logged), RUN_EVENTS, MAX_HTML_BYTES)
        made = lines(_find_events(connection, name, RUN_UPDATES + 1, principal.allowed_dags, UPDATED))
        updates, has_more_updates = fit(made, RUN_UPDATES, MAX_HTML_BYTES)
        return live(connection) | {
            "run": detail,
            "task_counts": task_counts,
            "chart": chart_of(detail, tasks, earlier, services.clock()),
            "incident": _incident(connection, detail, allowed_dags),
            "updates": updates,
            "has_more_updates": has_more_updates,
            "events": events,
            "has_more_events": has_more_events,
            "unnotified": rule_descriptions.find_unnotified(connection, logged, principal.allowed_dags),
        }

    values = await services.database.read(load)
    if values is None:
        raise _unknown(name)
    return render(
        request,
        "run.html",
        principal,
        airflow=airflow_url(services, deployment),
        is_first=query.after is None,
        opened=query.task_id,
        **values,
    )


def _instance_order(task: Mapping[str, Any]) -> tuple[bool, int]:
    return task["state"] not in FIRST_SHOWN, task["map_index"]


def _find_events(
    connection: Connection, name: RunName, limit: int, allowed_dags: AllowedDags, *types: str
) -> list[LoggedEvent]:
    event_filter = Filter.from_values(type=types, **{key: [value] for key, value in vars(name).items()})
    found = read.read_before(connection, None, limit, event_filter, allowed_dags, read.MAX_READ_BYTES)
    # A filter reads * and ? in a name as globs, but in these names they are letters.
    of_run = {line.seq for line in lines(found) if (line.dag_id, line.run_id) == (name.dag_id, name.run_id)}
    return [logged for logged in found if logged.seq in of_run]


def _incident(connection: Connection, run: Mapping[str, Any], allowed_dags: AllowedDags) -> Incident | None:
    """Return the incident that a failed run opened or joined: its DAG's, open when the run ended."""
    ended = run["end_date"]
    if run["state"] != "failed" or ended is None:
        return None
    of_it = IncidentFilter(deployment=run["deployment"], dag_id=run["dag_id"])
    of_dag = incidents.page(connection, LOOKED_AT, incident_filter=of_it, allowed_dags=allowed_dags)
    return next(
        (
            incident
            for incident in of_dag
            if incident.opened_at <= ended and (incident.closed_at is None or incident.closed_at >= ended)
        ),
        None,
    )


@router.get("/logs/{deployment}/{dag_id}/{run_id:path}")
async def log(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    deployment: InPath,
    dag_id: InPath,
    run_id: InPath,
    query: Annotated[TryQuery, Query()],
) -> HTMLResponse:
    """Show the end of a try's log, from Airflow. The run's page shows a part of this page in place."""
    name = RunName(deployment, dag_id, run_id)
    await _load_run(services, principal, name)
    task = query.task_id, query.map_index
    # Airflow is asked with the monitor's own rights, so only about what is of this run for certain.
    if not await services.database.read(lambda c: runs_projection.has_task(c, name, *task)):
        raise HTTPException(404, f"No task {query.task_id!r} of the run {run_id!r} is known here.")
    values: dict[str, Any] = {"run": vars(name), "told": query, "log": None, "problem": None}
    try:
        attempt = query.task_id, query.map_index, query.try_number
        asking = services.lookups.log_end(whose_of(request), name, *attempt)
        values["log"] = await while_wanted(request, asking)
    except NoAnswer as why:
        values["problem"] = str(why)
    return render(request, "log.html", principal, **values)


@router.get("/details/{deployment}/{dag_id}/{run_id:path}")
async def details(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    deployment: InPath,
    dag_id: InPath,
    run_id: InPath,
) -> HTMLResponse:
    """Show what only Airflow knows of a run, and its differences from the last successful run."""
    name = RunName(deployment, dag_id, run_id)
    row = await _load_run(services, principal, name)
    values: dict[str, Any] = {"run": vars(name), "details": None, "problem": None}
    try:
        until = row["start_date"] or row["queued_at"]
        asking = services.lookups.details(whose_of(request), name, until)
        values["details"] = await while_wanted(request, asking)
    except NoAnswer as why:
        values["problem"] = str(why)
    return render(request, "details.html", principal, **values)


async def _load_run(services: Services, principal: Principal, name: RunName) -> Row:
    """Return the run's row, before Airflow is asked about it.
    Raises 404, also if the reader may not see the run."""
    may_read = principal.allowed_dags is None or (name.deployment, name.dag_id) in principal.allowed_dags
    row = (
        await services.database.read(lambda connection: runs_projection.run(connection, name))
        if may_read
        else None
    )
    if row is None:
        raise _unknown(name)
    return row


def _unknown(name: RunName) -> HTTPException:
    return HTTPException(404, f"No run {name.run_id!r} of the DAG {name.dag_id!r} is known here.")
