"""Silences as people look at them: what holds now, what is over, and a form with a preview."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor import silences
from monitor.silences import SilenceScope
from monitor.web import silences_api, spans
from monitor.web.gate import Reader
from monitor.web.pages import live
from monitor.web.prefix import redirect
from monitor.web.querying import Id, Paged
from monitor.web.reader import PageReader, require_csrf
from monitor.web.rendering import query as query_string
from monitor.web.rendering import render
from monitor.web.services import Here, Services
from monitor.web.silence_form import SilenceForm
from monitor.web.silence_preview import preview
from monitor.web.silencing import incident_scope, may_silence, whole_mistake

SHOWN_ACTIVE = 200

router = APIRouter(prefix="/silences", include_in_schema=False)


@router.get("")
async def all_of_them(
    request: Request, here: Here, reader: PageReader, query: Annotated[Paged, Query()]
) -> HTMLResponse:
    """Those that hold, those to come, and those that are over."""
    now, visible = here.clock(), await here.gate.sight(reader)

    def look(connection: Connection) -> dict[str, Any]:
        page = silences.page(connection, query.limit, query.cursor, visible=visible)
        return live(connection) | {
            "active": silences.page(connection, SHOWN_ACTIVE, active_at=now, visible=visible),
            "others": [one for one in page if not one.is_active(now)],
            "next": page[-1].id if len(page) == query.limit else None,
        }

    shown = await here.database.read(look)
    is_first = query.cursor is None
    return render(request, "silences.html", reader, now=now, state=_state(now), is_first=is_first, **shown)


def _state(now: datetime) -> Any:
    return lambda silence: silences_api.state(silence, now)


@router.get("/new")
async def form(
    request: Request, here: Here, reader: PageReader, given: Annotated[SilenceForm, Query()]
) -> HTMLResponse:
    """The form; once something is filled in, also what it would have covered in the last day."""
    return await _form(request, here, reader, given)


@router.post("")
async def make(
    request: Request, here: Here, reader: PageReader, given: Annotated[SilenceForm, Form()]
) -> Response:
    """The form, sent: to silence, or to see first what that would cover. A whole Airflow is silenced by who
    has seen that and says so once more."""
    await require_csrf(request, reader)
    if given.is_question or (given.whole_airflow and not given.is_confirmed):
        return redirect(request, f"/silences/new?{query_string(given.given())}")
    now = here.clock()
    try:
        ends_at = spans.end_of(given.until, given.own_end, now, here.rules.current.config.timezone)
        scope = await _scope(here, reader, given)
        await silences_api.add(here, reader, scope, given.why(), now, ends_at, given.whole_airflow)
    except ValueError as error:
        return await _form(request, here, reader, given, str(error))
    except HTTPException as refusal:
        return await _form(request, here, reader, given, refusal.detail, refusal.status_code)
    return redirect(request, "/silences")


async def _scope(here: Services, reader: Reader, given: SilenceForm) -> SilenceScope:
    """Raises ValueError, and 404 as an HTTP error."""
    if given.incident is None:
        return SilenceScope(given.match())
    return await incident_scope(here, reader, given.incident)


async def _form(
    request: Request,
    here: Services,
    reader: Reader,
    given: SilenceForm,
    problem: str | None = None,
    status: int = 422,
) -> HTMLResponse:
    now, zone = here.clock(), here.rules.current.config.timezone
    visible = await here.gate.sight(reader)
    scope, covered, allowed = None, None, True
    try:
        scope = await _scope(here, reader, given)
        given = given.spelt_out(scope)
        if given.whole_airflow:
            problem = problem or whole_mistake(scope, whole_airflow=True)
    except ValueError as error:
        problem = problem or str(error)
    if scope is not None and given.is_filled and not problem:
        allowed = await may_silence(reader, scope)
        covered = await here.database.read(lambda connection: preview(connection, scope, now, visible))
    shown: dict[str, Any] = {
        "form": given,
        "scope": scope,
        "problem": problem,
        "covered": covered,
        "allowed": allowed,
        "zone": zone,
        "choices": spans.choices(now, zone),
    }
    return render(request, "silence_new.html", reader, status if problem else 200, **shown)


@router.post("/{silence_id}/end")
async def end(request: Request, here: Here, reader: PageReader, silence_id: Id) -> RedirectResponse:
    """The button beside a silence."""
    await silences_api.end(request, here, reader, silence_id)
    return redirect(request, "/silences")
