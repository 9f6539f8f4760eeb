"""`/links/silence/{token}`: silence, from a mail, what the mail is about, and no more."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor import incidents, silences
from monitor.links import SILENCE
from monitor.rules import Match
from monitor.rules.globs import WILD
from monitor.silences import Silence, SilenceScope, TooManySilences
from monitor.web import signed, spans
from monitor.web.rendering import render
from monitor.web.services import Here, Services
from monitor.web.signed import BY_LINK, Deed
from monitor.web.silencing import mistake_in

SHOWN = 20  # active silences
PATH = "/links/silence/{token}"
NAMED = ("dag_id", "task_id", "asset", "type")
"""What a link may name, beside the Airflow."""

router = APIRouter(include_in_schema=False)


class SilenceDeed(Deed):
    until: str = ""
    own_end: str = ""
    silence_id: int = 0


@router.get(PATH)
async def ask(request: Request, here: Here, token: str) -> HTMLResponse:
    """What would be silenced, for how long, and what is silenced already."""
    return await _page(request, here, await _scope(here, token), SilenceDeed(), None)


@router.post(PATH)
async def act(request: Request, here: Here, token: str, form: Annotated[SilenceDeed, Form()]) -> Response:
    """Silence, or end a silence of the same. Whoever silences by a link extends what was silenced by one: the
    same link makes one silence, however often it is used."""
    scope = await _scope(here, token)
    now = here.clock()
    if form.action == "end":
        await here.database.write(lambda connection: _end(connection, scope, form, now))
        return _back(request)
    try:
        ends_at = spans.end_of(form.until, form.own_end, now, here.rules.current.config.timezone)
    except ValueError as error:
        return await _page(request, here, scope, form, str(error))
    if mistake := mistake_in(scope, now, ends_at, now):
        return await _page(request, here, scope, form, mistake)
    try:
        await here.database.write(
            lambda connection: silences.add_or_extend(
                connection, scope, form.who, form.why, ends_at, now, BY_LINK
            )
        )
    except TooManySilences as many:
        return await _page(request, here, scope, form, str(many))
    return _back(request)


def _back(request: Request) -> RedirectResponse:
    return RedirectResponse(request.url.path, 303)  # a reload must not silence again


async def _scope(here: Services, token: str) -> SilenceScope:
    """Raises LinkError, and 404, 409 and 410 as HTTP errors."""
    content = signed.read(here, SILENCE, token)
    if "incident_id" in content:
        incident_id = content["incident_id"]
        found = await here.database.read(lambda connection: incidents.find(connection, incident_id))
        if found is None:
            raise HTTPException(404, f"Incident {incident_id} is known here no more.")
        return SilenceScope.of_incident(found)
    named = {name: content[name] for name in NAMED if content.get(name)}
    for value in named.values():
        if not WILD.isdisjoint(value):
            raise HTTPException(
                409,
                f"The name {value!r} holds * or ?, which would silence others too: use the page Silences.",
            )
    scope = SilenceScope(Match.model_validate({"deployment": content["deployment"], **named}))
    if scope.is_whole:
        raise HTTPException(
            410,
            "A link silences no whole Airflow any more, and this one was for nothing less. Sign in, and use "
            "the page Silences.",
        )
    return scope


def _end(connection: Connection, scope: SilenceScope, form: SilenceDeed, now: datetime) -> None:
    if any(one.id == form.silence_id for one in _active(connection, scope, now)):
        silences.end(connection, form.silence_id, form.who, now)


def _active(connection: Connection, scope: SilenceScope, now: datetime) -> list[Silence]:
    """The active silences of what the link is for: of a DAG those too that take but some of its events."""
    of_dag = (
        scope.dag
        if scope == SilenceScope(Match(deployment=scope.match.deployment, dag_id=scope.match.dag_id))
        else None
    )
    return [
        one
        for one in silences.active(connection, now)
        if one.is_of(scope) or (of_dag is not None and (one.deployment, one.dag_id) == of_dag)
    ][:SHOWN]


async def _page(
    request: Request, here: Services, scope: SilenceScope, form: SilenceDeed, problem: str | None
) -> HTMLResponse:
    now, zone = here.clock(), here.rules.current.config.timezone
    shown: dict[str, Any] = {
        "scope": scope,
        "active": await here.database.read(lambda connection: _active(connection, scope, now)),
        "choices": spans.choices(now, zone),
        "zone": zone,
        "form": form,
        "problem": problem,
    }
    return render(request, "link_silence.html", None, 422 if problem else 200, **shown)
