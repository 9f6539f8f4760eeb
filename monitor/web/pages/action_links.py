"""The pages behind a mail's links: acknowledge, silence and unsubscribe.

`/links/unsubscribe/{token}` stops the mails of one rule. Mail providers post `List-Unsubscribe=One-Click` to
it by themselves when a user presses their button. They send no cookies and accept no redirect as an answer
(RFC 8058 section 3.1).

The links are signed and verified by `Links` (delivery/messages/links.py)."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor.delivery.messages.links import ACKNOWLEDGE, SILENCE, UNSUBSCRIBE
from monitor.notifications import incidents, silences
from monitor.notifications.incidents import Incident
from monitor.notifications.silences import Silence, SilenceScope, TooManySilences
from monitor.rules.field_types import WILD
from monitor.rules.model import Match
from monitor.web.pages import forms
from monitor.web.pages.forms import BY_LINK, Deed
from monitor.web.services import Services, ServicesDep
from monitor.web.silence_validation import mistake_in
from monitor.web.templating import render

ACKNOWLEDGE_PATH = "/links/acknowledge/{token}"

acknowledge_router = APIRouter(include_in_schema=False)


@acknowledge_router.get(ACKNOWLEDGE_PATH)
async def show_acknowledge(request: Request, services: ServicesDep, token: str) -> HTMLResponse:
    """Show the incident, and who has acknowledged it."""
    incident = await _incident(services, token)
    return render(request, "link_acknowledge.html", None, incident=incident)


@acknowledge_router.post(ACKNOWLEDGE_PATH)
async def post_acknowledge(
    request: Request, services: ServicesDep, token: str, form: Annotated[Deed, Form()]
) -> RedirectResponse:
    """Acknowledge the incident, or take the acknowledgement back."""
    incident = await _incident(services, token)

    def write(connection: Connection) -> None:
        if form.action == "take_back":
            incidents.unacknowledge(connection, incident.id)
        else:
            incidents.acknowledge(connection, incident.id, form.who, form.why, services.clock())

    if incident.is_open:
        await services.database.write(write)
    return RedirectResponse(request.url.path, 303)


async def _incident(services: Services, token: str) -> Incident:
    """Return the incident of a link. Raises LinkError."""
    incident_id = forms.read_link(services, ACKNOWLEDGE, token)["incident_id"]
    found = await services.database.read(lambda connection: incidents.find(connection, incident_id))
    if found is None:
        raise HTTPException(404, f"Incident {incident_id} is known here no more.")
    return found.drop_lapsed(services.clock())


SHOWN = 20  # active silences
SILENCE_PATH = "/links/silence/{token}"
NAMED = ("dag_id", "task_id", "asset", "type")
"""The fields that a link may name, besides the Airflow."""

silence_router = APIRouter(include_in_schema=False)


class SilenceDeed(Deed):
    """The form of the page that silences."""

    own_end: str = ""
    silence_id: int = 0


@silence_router.get(SILENCE_PATH)
async def show_silence(request: Request, services: ServicesDep, token: str) -> HTMLResponse:
    """Show what would be silenced, for how long, and what is silenced already."""
    return await _page(request, services, await _scope(services, token), SilenceDeed(), None)


@silence_router.post(SILENCE_PATH)
async def post_silence(
    request: Request, services: ServicesDep, token: str, form: Annotated[SilenceDeed, Form()]
) -> Response:
    """Silence what the link is for, or end such a silence.
    Silencing by a link extends an earlier silence by a link. So the same link makes one silence, however
    often it is used."""
    scope = await _scope(services, token)
    now = services.clock()
    if form.action == "end":
        await services.database.write(lambda connection: _end(connection, scope, form, now))
        return _back(request)
    try:
        ends_at = forms.end_of(form.until, form.own_end, now, services.rules.current.config.timezone)
    except ValueError as error:
        return await _page(request, services, scope, form, str(error))
    if mistake := mistake_in(scope, now, ends_at, now):
        return await _page(request, services, scope, form, mistake)
    try:
        await services.database.write(
            lambda connection: silences.add_or_extend(
                connection, scope, form.who, form.why, ends_at, now, BY_LINK
            )
        )
    except TooManySilences as many:
        return await _page(request, services, scope, form, str(many))
    return _back(request)


def _back(request: Request) -> RedirectResponse:
    return RedirectResponse(request.url.path, 303)  # a reload must not silence again


async def _scope(services: Services, token: str) -> SilenceScope:
    """Return the scope of a link. Raises LinkError, and 404, 409 and 410 as HTTP errors."""
    content = forms.read_link(services, SILENCE, token)
    if "incident_id" in content:
        incident_id = content["incident_id"]
        found = await services.database.read(lambda connection: incidents.find(connection, incident_id))
        if found is None:
            raise HTTPException(404, f"Incident {incident_id} is known here no more.")
        return SilenceScope.from_incident(found)
    fields = {name: content[name] for name in NAMED if content.get(name)}
    for value in fields.values():
        if not WILD.isdisjoint(value):
            raise HTTPException(
                409,
                f"The name {value!r} holds * or ?, which would silence others too: use the page Silences.",
            )
    scope = SilenceScope(Match.model_validate({"deployment": content["deployment"], **fields}))
    if scope.is_whole:
        raise HTTPException(
            410,
            "A link silences no whole Airflow any more, and this one was for nothing less. Sign in, and use "
            "the page Silences.",
        )
    return scope


def _end(connection: Connection, scope: SilenceScope, form: SilenceDeed, now: datetime) -> None:
    if any(silence.id == form.silence_id for silence in _active(connection, scope, now)):
        silences.end(connection, form.silence_id, form.who, now)


def _active(connection: Connection, scope: SilenceScope, now: datetime) -> list[Silence]:
    """Return the active silences of the link's scope.
    For a DAG, silences of some of its events are included."""
    of_dag = (
        scope.dag
        if scope == SilenceScope(Match(deployment=scope.match.deployment, dag_id=scope.match.dag_id))
        else None
    )
    return [
        silence
        for silence in silences.active(connection, now)
        if silence.is_of(scope) or (of_dag is not None and (silence.deployment, silence.dag_id) == of_dag)
    ][:SHOWN]


async def _page(
    request: Request, services: Services, scope: SilenceScope, form: SilenceDeed, problem: str | None
) -> HTMLResponse:
    now, zone = services.clock(), services.rules.current.config.timezone
    values: dict[str, Any] = {
        "scope": scope,
        "active": await services.database.read(lambda connection: _active(connection, scope, now)),
        "choices": forms.choices(now, zone),
        "zone": zone,
        "form": form,
        "problem": problem,
    }
    return render(request, "link_silence.html", None, 422 if problem else 200, **values)


UNSUBSCRIBE_PATH = "/links/unsubscribe/{token}"
ONE_CLICK = ("List-Unsubscribe", "One-Click")

unsubscribe_router = APIRouter(include_in_schema=False)


@unsubscribe_router.get(UNSUBSCRIBE_PATH)
async def show_unsubscribe(request: Request, services: ServicesDep, token: str) -> HTMLResponse:
    """Show whose mails of which rule the link stops, and whether they are stopped already."""
    content = forms.read_link(services, UNSUBSCRIBE, token)
    address, rule = content["address"], content["rule"]
    gone = await services.database.read(
        lambda connection: silences.is_unsubscribed(connection, address, rule)
    )
    return render(request, "link_unsubscribe.html", None, address=mask_address(address), rule=rule, gone=gone)


@unsubscribe_router.post(UNSUBSCRIBE_PATH)
async def post_unsubscribe(request: Request, services: ServicesDep, token: str) -> Response:
    """Stop the mails, or take that back."""
    content = forms.read_link(services, UNSUBSCRIBE, token)
    address, rule, now = content["address"], content["rule"], services.clock()
    form_data = await request.form()
    one_click = form_data.get(ONE_CLICK[0]) == ONE_CLICK[1]
    action = "stop" if one_click else form_data.get("action")
    if action not in ("stop", "resume"):
        raise HTTPException(422, f"send {'='.join(ONE_CLICK)} (RFC 8058), or open the link in a browser")

    def write(connection: Connection) -> None:
        if action == "stop":
            silences.unsubscribe(connection, address, rule, now)
        else:
            silences.resubscribe(connection, address, rule)

    await services.database.write(write)
    if one_click:
        return PlainTextResponse("Unsubscribed.\n")
    return RedirectResponse(request.url.path, 303)


def mask_address(address: str) -> str:
    """Return `j…@example.com`: enough for its owner, and no address for others who got the forwarded mail."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}" if local else "…"
