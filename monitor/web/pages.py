"""The dashboard, the events, a run, a delivery: one read of the database each, then a template."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import field_validator
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor import board, event_log, incidents, outbox, silences
from monitor.board import RunName
from monitor.event_log import FILTERS, Cursor, Filter, Logged, Visible
from monitor.events.data import DATA
from monitor.mailer.mailbox import filed_as
from monitor.web import deliveries_api, health
from monitor.web.event_line import EventLine
from monitor.web.prefix import redirect
from monitor.web.querying import EventsQuery, Id
from monitor.web.reader import PageReader
from monitor.web.rendering import render
from monitor.web.runs_api import InPath, run_detail
from monitor.web.services import Here, Services

SHOWN = 12  # rows of each list on the dashboard: what fits on a screen
SHOWN_EVENTS = 20
OTHERS = 50  # deliveries of the same text to others
COUNTED = 100  # open incidents and silences; of more, "100 or more" tells as much
RUN_EVENTS = 200  # of a run's events, the latest

TYPES = " ".join(sorted(DATA))
"""An EventSource has to ask for each type by its name."""

router = APIRouter(include_in_schema=False)


class EventsForm(EventsQuery):
    """The same as a form sends it, with fields that were left empty."""

    @field_validator(*FILTERS, mode="before")
    @classmethod
    def _filled(cls, values: Any) -> Any:
        return [value for value in values if value] if isinstance(values, list) else values


@router.get("/")
async def dashboard(request: Request, here: Here, reader: PageReader) -> HTMLResponse:
    """What is wrong, what is silenced, runs, events, assets, mails and health, live."""
    sight, now = await here.gate.sight(reader), here.clock()
    shown = await here.database.read(
        lambda connection: _dashboard(connection, reader.visible) | _notices(connection, sight, now)
    )
    parts = await health.check(here, sight)
    problem = here.rules.problem
    return render(request, "dashboard.html", reader, parts_health=parts, problem=problem, **shown)


def _notices(connection: Connection, visible: Visible, now: datetime) -> dict[str, Any]:
    """What is on top of the dashboard."""
    return {
        "open": incidents.page(connection, COUNTED, wanted=incidents.Wanted(incidents.OPEN), visible=visible),
        "silenced": silences.page(connection, COUNTED, active_at=now, visible=visible),
        "counted": COUNTED,
    }


def _dashboard(connection: Connection, visible: Visible) -> dict[str, Any]:
    runs = board.runs(connection, SHOWN, visible=visible)
    return live(connection) | {
        "runs": [(run, board.tasks(connection, _name(run))) for run in runs],
        "events": lines(event_log.read_before(connection, None, SHOWN_EVENTS, Filter(), visible)),
        "assets": board.asset_list(connection, SHOWN, visible=visible),
        "deliveries": outbox.deliveries(connection, SHOWN, visible=visible),
    }


def _name(run: board.Row) -> RunName:
    return RunName(run["deployment"], run["dag_id"], run["run_id"])


def live(connection: Connection) -> dict[str, Any]:
    """What a page that updates itself needs: the place in the log that it shows, and what to listen for."""
    state = event_log.state(connection)
    return {"cursor": Cursor(state.epoch, state.last_seq), "types": TYPES}


def lines(events: list[Logged]) -> list[EventLine]:
    return [EventLine.of(event) for event in events]


@router.get("/events/list")
async def events(
    request: Request, here: Here, reader: PageReader, query: Annotated[EventsForm, Query()]
) -> HTMLResponse:
    """The log, page by page."""

    def look(connection: Connection) -> dict[str, Any]:
        found = event_log.read_before(connection, query.cursor, query.limit, query.filter(), reader.visible)
        following = found[-1].seq if len(found) == query.limit else None
        return live(connection) | {"events": lines(found), "next": following}

    shown = await here.database.read(look)
    given = query.model_dump(exclude={"cursor", "limit"}, exclude_defaults=True)
    return render(request, "events.html", reader, given=given, **shown)


@router.get("/runs/{deployment}/{dag_id}/{run_id:path}")
async def run(
    request: Request, here: Here, reader: PageReader, deployment: InPath, dag_id: InPath, run_id: InPath
) -> HTMLResponse:
    """One run: its tasks with their errors, its mails, its events."""
    name = RunName(deployment, dag_id, run_id)

    def look(connection: Connection) -> dict[str, Any] | None:
        detail = run_detail(connection, name, reader.visible)
        if detail is None:
            return None
        wanted = Filter.of(deployment=[deployment], dag_id=[dag_id], run_id=[run_id])
        events = event_log.read_before(connection, None, RUN_EVENTS, wanted, reader.visible)
        return live(connection) | {"run": detail, "events": lines(events)}

    shown = await here.database.read(look)
    if shown is None:
        raise HTTPException(404, f"No run {run_id!r} of the DAG {dag_id!r} is known here.")
    return render(request, "run.html", reader, airflow=airflow_url(here, deployment), **shown)


def airflow_url(here: Services, deployment: str) -> str | None:
    """Where people find this deployment's Airflow, or None where that is not known."""
    return here.settings.airflow_pages.get(deployment)


@router.get("/deliveries/{delivery_id}")
async def delivery(request: Request, here: Here, reader: PageReader, delivery_id: Id) -> HTMLResponse:
    """One delivery: its state and why, the events that it tells of, and each attempt."""
    visible = await here.gate.sight(reader)
    found = await here.database.read(lambda connection: _delivery(connection, delivery_id, visible))
    if found is None:
        raise HTTPException(404, f"No delivery {delivery_id} is known here.")
    filed = (filed_as(attempt.answer) for attempt in reversed(found["ledger"])) if here.mailbox else ()
    letter_id = next((mail_id for mail_id in filed if mail_id), None)
    shown = found.pop("live") | {"delivery": found, "letter_id": letter_id}
    return render(request, "delivery.html", reader, **shown)


def _delivery(connection: Connection, delivery_id: int, visible: Visible) -> dict[str, Any] | None:
    found = deliveries_api.detail(connection, delivery_id, visible)
    if found is None:
        return None
    told = event_log.of_seqs(connection, [one.event_seq for one in found["decisions"]], visible)
    others = outbox.deliveries(
        connection, OTHERS, wanted=outbox.Wanted(notification_id=found["notification_id"]), visible=visible
    )
    return found | {
        "live": live(connection),
        "events": {event.seq: EventLine.of(event) for event in told},
        "others": [one for one in others if one.id != delivery_id],
    }


@router.post("/deliveries/{delivery_id}/resend")
async def resend(request: Request, here: Here, reader: PageReader, delivery_id: Id) -> RedirectResponse:
    """The button on that page."""
    await deliveries_api.resend(request, here, reader, delivery_id)
    return redirect(request, f"/deliveries/{delivery_id}")
