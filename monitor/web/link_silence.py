"""`/links/silence/{token}`: silence a DAG, or a whole deployment, from a mail."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor import silences
from monitor.event_log import Visible
from monitor.links import SILENCE
from monitor.rules import Match
from monitor.silences import Silence
from monitor.web import signed, spans
from monitor.web.rendering import render
from monitor.web.services import Here, Services
from monitor.web.signed import Deed
from monitor.web.silencing import WILD, mistake_in

SHOWN = 20  # active silences
PATH = "/links/silence/{token}"

router = APIRouter(include_in_schema=False)


class SilenceDeed(Deed):
    until: str = ""
    own_end: str = ""
    silence_id: int = 0


@router.get(PATH)
async def ask(request: Request, here: Here, token: str) -> HTMLResponse:
    """What would be silenced, for how long, and what is silenced already."""
    return await _page(request, here, _scope(here, token), SilenceDeed(), None)


@router.post(PATH)
async def act(request: Request, here: Here, token: str, form: Annotated[SilenceDeed, Form()]) -> Response:
    """Silence, or end a silence of the same DAG."""
    match = _scope(here, token)
    now = here.clock()
    if form.action == "end":
        await here.database.write(lambda connection: _end(connection, match, form, now))
        return _back(request)
    try:
        ends_at = spans.end_of(form.until, form.own_end, now, here.rules.current.config.timezone)
    except ValueError as error:
        return await _page(request, here, match, form, str(error))
    if mistake := mistake_in(match, now, ends_at, now):
        return await _page(request, here, match, form, mistake)
    await here.database.write(
        lambda connection: silences.add(connection, match, form.who, form.why, now, ends_at, now)
    )
    return _back(request)


def _back(request: Request) -> RedirectResponse:
    return RedirectResponse(request.url.path, 303)  # a reload must not silence again


def _scope(here: Services, token: str) -> Match:
    """Raises LinkError."""
    content = signed.read(here, SILENCE, token)
    deployment, dag_id = content["deployment"], content["dag_id"]
    if WILD & set(dag_id or ""):
        raise HTTPException(
            409,
            f"The name {dag_id!r} holds * or ?, which would silence other DAGs too: use the page Silences.",
        )
    return Match(deployment=(deployment,), dag_id=(dag_id,) if dag_id else ())


def _end(connection: Connection, match: Match, form: SilenceDeed, now: datetime) -> None:
    if any(one.id == form.silence_id for one in _active(connection, match, now)):
        silences.end(connection, form.silence_id, form.who, now)


def _active(connection: Connection, match: Match, now: datetime) -> list[Silence]:
    """The active silences of exactly what the link is for."""
    dag = next(iter(match.dag_id), None)
    visible: Visible = frozenset({(match.deployment[0], dag)}) if dag else None
    found = silences.page(connection, SHOWN, active_at=now, visible=visible)
    return [one for one in found if dag or one.match == match]


async def _page(
    request: Request, here: Services, match: Match, form: SilenceDeed, problem: str | None
) -> HTMLResponse:
    now, zone = here.clock(), here.rules.current.config.timezone
    shown: dict[str, Any] = {
        "match": match,
        "active": await here.database.read(lambda connection: _active(connection, match, now)),
        "choices": spans.choices(now, zone),
        "zone": zone,
        "form": form,
        "problem": problem,
    }
    return render(request, "link_silence.html", None, 422 if problem else 200, **shown)
