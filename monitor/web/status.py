"""`/status` and `/api`: the last training run, as a page of its own and as JSON."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from monitor import board, event_log
from monitor.board import RUN_ENDS, RUNNING, RunName
from monitor.event_log import Filter, Visible
from monitor.web import examples
from monitor.web.answers import PROBLEMS, Answer, example, polled
from monitor.web.models import RunDetail
from monitor.web.pages import airflow_url, live
from monitor.web.polled import Polled
from monitor.web.querying import Name
from monitor.web.reader import ApiReader, PageReader
from monitor.web.rendering import render
from monitor.web.runs_api import run_detail
from monitor.web.services import Here

TRAINING_DAG = "Airflow_Lab2"  # the lab's DAG (dags/training.py); `?dag_id=` shows any other
LOOKED_THROUGH = 100  # of the DAG's latest runs, for one that has ended
MAX_ASSETS = 100  # updates by one run that are shown

router = APIRouter(route_class=Polled)


class StatusQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    dag_id: Name = Field(TRAINING_DAG, description="The DAG", examples=[TRAINING_DAG])


class Status(Answer):
    """The DAG's last run that has ended; `run` is null as long as there is none."""

    model_config = example(**examples.STATUS)
    dag_id: str
    run: RunDetail | None
    metrics: dict[str, dict[str, Any]] = Field(
        description="What the run reported of each asset that it updated, by the asset's name"
    )
    running: str | None = Field(description="A later run, which is under way: its run id")


def look(connection: Connection, dag_id: str, visible: Visible) -> dict[str, Any]:
    """What both show."""
    runs = board.runs(connection, LOOKED_THROUGH, dag_id=dag_id, visible=visible)
    ended = next((run for run in runs if run["state"] in RUN_ENDS), None)
    running = next((run["run_id"] for run in runs if run["state"] == RUNNING), None)
    if ended is None:
        return {"dag_id": dag_id, "run": None, "metrics": {}, "running": running}
    name = RunName(ended["deployment"], ended["dag_id"], ended["run_id"])
    detail = run_detail(connection, name, visible)
    return {
        "dag_id": dag_id,
        "run": detail,
        "metrics": _metrics(connection, name, visible),
        "running": running,
    }


def _metrics(connection: Connection, name: RunName, visible: Visible) -> dict[str, dict[str, Any]]:
    wanted = Filter.of(type=["airflow.asset.updated"], **{key: [value] for key, value in vars(name).items()})
    found = event_log.read_before(connection, None, MAX_ASSETS, wanted, visible)
    updates = (json.loads(event.body)["data"] for event in reversed(found))
    return {data["asset"]["name"]: data.get("extra", {}) for data in updates}


@router.get(
    "/api",
    response_model=Status,
    responses=PROBLEMS | polled(),
    tags=["runs"],
    operation_id="getStatus",
)
async def status(here: Here, reader: ApiReader, query: Annotated[StatusQuery, Query()]) -> dict[str, Any]:
    """The last training run that has ended: its result, tasks, mails and metrics."""
    return await here.database.read(lambda connection: look(connection, query.dag_id, reader.visible))


@router.get("/status", include_in_schema=False)
async def status_page(
    request: Request, here: Here, reader: PageReader, query: Annotated[StatusQuery, Query()]
) -> HTMLResponse:
    shown = await here.database.read(
        lambda connection: look(connection, query.dag_id, reader.visible) | live(connection)
    )
    run = shown["run"]
    if run is None:
        return render(request, "no_run.html", reader, **shown)
    page = "success.html" if run["state"] == "success" else "failure.html"
    return render(request, page, reader, airflow=airflow_url(here, run["deployment"]), **shown)
