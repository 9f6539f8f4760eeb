"""Runs: the list that one looks through, one run with its timeline, and what Airflow is asked about it."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor import board, event_log, incidents
from monitor.board import RunName
from monitor.event_log import Filter, Logged, Visible
from monitor.incidents import Incident
from monitor.web import unnotified
from monitor.web.asked_airflow import NoAnswer
from monitor.web.gantt import chart_of
from monitor.web.gate import Reader
from monitor.web.pages import airflow_url, filled, lines, live
from monitor.web.querying import Name, RunsQuery
from monitor.web.reader import PageReader
from monitor.web.rendering import render
from monitor.web.runs_api import InPath, run_detail
from monitor.web.services import Here, Services
from monitor.web.tries_told import earlier_tries

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
    def _filled(cls, value: Any) -> Any:
        return filled(value)


class TryQuery(BaseModel):
    """Which try of which task."""

    model_config = ConfigDict(extra="forbid")
    task_id: Name
    map_index: int = Field(-1, ge=-1, le=2**31 - 1)
    try_number: int = Field(1, ge=0, le=MAX_TRY)


@router.get("/runs")
async def runs(
    request: Request, here: Here, reader: PageReader, query: Annotated[RunsForm, Query()]
) -> HTMLResponse:
    """The runs that changed last, filtered and searched, page by page."""

    def look(connection: Connection) -> dict[str, Any]:
        found = board.run_list(connection, query.wanted(), query.limit, query.cursor, reader.visible)
        following = found[-1]["last_seq"] if len(found) == query.limit else None
        return live(connection) | {"runs": with_strips(connection, found), "next": following}

    shown = await here.database.read(look)
    given = query.model_dump(mode="json", exclude={"cursor", "limit"}, exclude_defaults=True)
    feed = {name: given[name] for name in ("deployment", "dag_id") if name in given}
    return render(
        *(request, "runs.html", reader),
        given=given,
        feed=feed | {"type": "airflow.dag_run.*"},
        is_first=query.cursor is None,
        states=STATES,
        run_types=TYPES,
        **shown,
    )


def with_strips(connection: Connection, found: list[board.Row]) -> list[tuple[board.Row, board.Strip]]:
    return [(run, board.strip(connection, name_of(run))) for run in found]


def name_of(run: Mapping[str, Any]) -> RunName:
    return RunName(run["deployment"], run["dag_id"], run["run_id"])


@router.get("/runs/{deployment}/{dag_id}/{run_id:path}")
async def run(
    request: Request, here: Here, reader: PageReader, deployment: InPath, dag_id: InPath, run_id: InPath
) -> HTMLResponse:
    """One run: its timeline, its tasks with their errors, its mails, assets and events."""
    name = RunName(deployment, dag_id, run_id)
    sight = await here.gate.sight(reader)

    def look(connection: Connection) -> dict[str, Any] | None:
        detail = run_detail(connection, name, reader.visible)
        if detail is None:
            return None
        earlier = earlier_tries(connection, name, detail["tasks"])
        logged = _logged(connection, name, RUN_EVENTS, reader.visible)
        return live(connection) | {
            "run": detail,
            "chart": chart_of(detail, detail["tasks"], earlier, here.clock()),
            "incident": _incident(connection, detail, sight),
            "updates": lines(_logged(connection, name, RUN_UPDATES, reader.visible, UPDATED)),
            "events": lines(logged),
            "unnotified": unnotified.of_events(connection, logged, reader.visible),
        }

    shown = await here.database.read(look)
    if shown is None:
        raise _unknown(name)
    return render(request, "run.html", reader, airflow=airflow_url(here, deployment), **shown)


def _logged(connection: Connection, name: RunName, limit: int, visible: Visible, *types: str) -> list[Logged]:
    wanted = Filter.of(type=types, **{key: [value] for key, value in vars(name).items()})
    found = event_log.read_before(connection, None, limit, wanted, visible, event_log.MAX_PAGE_CHARACTERS)
    # A filter reads * and ? in a name as globs; here they are letters.
    return [
        logged
        for logged, line in zip(found, lines(found), strict=True)
        if (line.dag_id, line.run_id) == (name.dag_id, name.run_id)
    ]


def _incident(connection: Connection, run: Mapping[str, Any], visible: Visible) -> Incident | None:
    """The one that a failed run opened or joined: of its DAG, and open when the run ended."""
    ended = run["end_date"]
    if run["state"] != "failed" or ended is None:
        return None
    of_it = incidents.Wanted(deployment=run["deployment"], dag_id=run["dag_id"])
    of_dag = incidents.page(connection, LOOKED_AT, wanted=of_it, visible=visible)
    return next(
        (
            one
            for one in of_dag
            if one.opened_at <= ended and (one.closed_at is None or one.closed_at >= ended)
        ),
        None,
    )


@router.get("/logs/{deployment}/{dag_id}/{run_id:path}")
async def log(
    request: Request,
    here: Here,
    reader: PageReader,
    deployment: InPath,
    dag_id: InPath,
    run_id: InPath,
    query: Annotated[TryQuery, Query()],
) -> HTMLResponse:
    """The end of the log of one try, from Airflow: a page, of which the run's page shows a part in place."""
    name = RunName(deployment, dag_id, run_id)
    await _known(here, reader, name)
    shown: dict[str, Any] = {"run": vars(name), "told": query, "log": None, "problem": None}
    try:
        shown["log"] = await here.asked.log_end(name, query.task_id, query.map_index, query.try_number)
    except NoAnswer as why:
        shown["problem"] = str(why)
    return render(request, "log.html", reader, **shown)


@router.get("/details/{deployment}/{dag_id}/{run_id:path}")
async def details(
    request: Request, here: Here, reader: PageReader, deployment: InPath, dag_id: InPath, run_id: InPath
) -> HTMLResponse:
    """What only Airflow knows of a run, and what it has otherwise than the last good one."""
    name = RunName(deployment, dag_id, run_id)
    row = await _known(here, reader, name)
    shown: dict[str, Any] = {"run": vars(name), "details": None, "problem": None}
    try:
        shown["details"] = await here.asked.details(name, row["start_date"] or row["queued_at"])
    except NoAnswer as why:
        shown["problem"] = str(why)
    return render(request, "details.html", reader, **shown)


async def _known(here: Services, reader: Reader, name: RunName) -> board.Row:
    """The run's row, before Airflow is asked about it. Raises 404, also where it is not to be read."""
    may_read = reader.visible is None or (name.deployment, name.dag_id) in reader.visible
    row = await here.database.read(lambda connection: board.run(connection, name)) if may_read else None
    if row is None:
        raise _unknown(name)
    return row


def _unknown(name: RunName) -> HTTPException:
    return HTTPException(404, f"No run {name.run_id!r} of the DAG {name.dag_id!r} is known here.")
