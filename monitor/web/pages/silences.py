"""The pages of silences."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor.database.statements import fit
from monitor.event_log import read
from monitor.event_log.filters import AllowedDags, Filter
from monitor.event_log.projections import dags as dags_projection
from monitor.event_log.read import LoggedEvent
from monitor.notifications import silences
from monitor.notifications.silences import SilenceScope
from monitor.rules.matching import MatchSubject
from monitor.web.api import silences as silences_api
from monitor.web.auth.authenticator import Principal
from monitor.web.dependencies import PagePrincipal, require_csrf
from monitor.web.pages import forms
from monitor.web.pages.events import live
from monitor.web.pages.forms import SilenceForm
from monitor.web.paths import redirect
from monitor.web.query_params import Id, Paged
from monitor.web.responses import MAX_HTML_BYTES, cut_page
from monitor.web.services import Services, ServicesDep
from monitor.web.silence_validation import incident_scope, may_silence, whole_mistake
from monitor.web.templating import EventLine, render
from monitor.web.templating import query as query_string

LOOKED_BACK = timedelta(days=1)
LOOKED_THROUGH = 2_000  # events: some tenths of a second, and a page waits for it
EXAMPLES = 10
IN_SQL = ("deployment", "type", "dag_id", "task_id")
"""The fields that the log itself can search by, as a match does. The others are compared in this module."""


_Dags = dict[tuple[str, str], Mapping[str, Any] | None]
"""The DAGs' projection of each DAG, looked up once."""


@dataclass(frozen=True)
class SilenceCoverage:
    """The recent events that a silence would have covered."""

    number: int
    examples: list[EventLine]
    looked_through: int | None
    """The number of the latest events that were looked through, if the log's own search found more."""


def preview(
    connection: Connection, scope: SilenceScope, now: datetime, allowed_dags: AllowedDags
) -> SilenceCoverage:
    """Return the events of the last day that a silence of this scope would have covered."""
    event_filter = Filter.from_values(**{name: getattr(scope.match, name) for name in IN_SQL})
    found, following = read.read_page(
        connection, None, LOOKED_THROUGH, event_filter, allowed_dags, read.MAX_READ_BYTES
    )
    recent = [event for event in found if event.received_at >= now - LOOKED_BACK]
    dags: _Dags = {}
    covered = [event for event in recent if _covers(connection, scope, event, dags)]
    is_cut = following is not None and len(recent) == len(found)
    examples = EventLine.of_each(covered[:EXAMPLES])
    return SilenceCoverage(len(covered), examples, len(found) if is_cut else None)


def _covers(connection: Connection, scope: SilenceScope, logged: LoggedEvent, dags: _Dags) -> bool:
    parsed = read.parse_each([logged])
    if not parsed:
        return False
    [(_, event)] = parsed
    if not event.dag_id:
        return scope.covers(MatchSubject.from_event(event, None))
    key = (event.deployment, event.dag_id)
    if key not in dags:  # one look for each DAG, however many events it has
        dags[key] = dags_projection.dag(connection, *key)
    return scope.covers(MatchSubject.from_event(event, dags[key]))


SHOWN_ACTIVE = 200

router = APIRouter(prefix="/silences", include_in_schema=False)


@router.get("")
async def list_silences(
    request: Request, services: ServicesDep, principal: PagePrincipal, query: Annotated[Paged, Query()]
) -> HTMLResponse:
    """Show the silences that are active, those to come, and those that are over."""
    now, allowed_dags = services.clock(), await services.authenticator.get_permissions(principal)

    def load(connection: Connection) -> dict[str, Any]:
        found = silences.page(connection, query.limit + 1, query.cursor, allowed_dags=allowed_dags)
        page, following = cut_page(found, query.limit, lambda silence: silence.id)
        holding = silences.page(connection, SHOWN_ACTIVE + 1, active_at=now, allowed_dags=allowed_dags)
        active, has_more_active = fit(holding, SHOWN_ACTIVE, MAX_HTML_BYTES)
        listed = {silence.id for silence in active}
        return live(connection) | {
            "active": active,
            "has_more_active": has_more_active,
            "others": [silence for silence in page if silence.id not in listed],
            "next": following,
        }

    values = await services.database.read(load)
    is_first = query.cursor is None
    return render(
        request, "silences.html", principal, now=now, state=_state(now), is_first=is_first, **values
    )


def _state(now: datetime) -> Any:
    return lambda silence: silences_api.state(silence, now)


@router.get("/new")
async def form(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    silence_form: Annotated[SilenceForm, Query()],
) -> HTMLResponse:
    """Show the form and, once something is filled in, what it would have covered in the last day."""
    return await _form(request, services, principal, silence_form)


@router.post("")
async def make(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    silence_form: Annotated[SilenceForm, Form()],
) -> Response:
    """Silence, or show first what that would cover.
    A whole Airflow is silenced only after the user has seen that and confirmed it."""
    await require_csrf(request, principal)
    if silence_form.is_question or (silence_form.whole_airflow and not silence_form.is_confirmed):
        return redirect(request, f"/silences/new?{query_string(silence_form.to_query())}")
    now = services.clock()
    try:
        ends_at = forms.end_of(
            silence_form.until, silence_form.own_end, now, services.rules.current.config.timezone
        )
        scope = await _scope(services, principal, silence_form)
        await silences_api.add(
            services, principal, scope, silence_form.why(), now, ends_at, silence_form.whole_airflow
        )
    except ValueError as error:
        return await _form(request, services, principal, silence_form, str(error))
    except HTTPException as refusal:
        return await _form(request, services, principal, silence_form, refusal.detail, refusal.status_code)
    return redirect(request, "/silences")


async def _scope(services: Services, principal: Principal, silence_form: SilenceForm) -> SilenceScope:
    """Return the scope of a form. Raises ValueError, and 404 as an HTTP error."""
    if silence_form.incident is None:
        return SilenceScope(silence_form.match())
    return await incident_scope(services, principal, silence_form.incident)


async def _form(
    request: Request,
    services: Services,
    principal: Principal,
    silence_form: SilenceForm,
    problem: str | None = None,
    status: int = 422,
) -> HTMLResponse:
    now, zone = services.clock(), services.rules.current.config.timezone
    allowed_dags = await services.authenticator.get_permissions(principal)
    scope, covered, allowed = None, None, True
    try:
        scope = await _scope(services, principal, silence_form)
        silence_form = silence_form.spelt_out(scope)
        if silence_form.whole_airflow:
            problem = problem or whole_mistake(scope, whole_airflow=True)
    except ValueError as error:
        problem = problem or str(error)
    if scope is not None and silence_form.is_filled and not problem:
        allowed = await may_silence(principal, scope)
        covered = await services.database.read(
            lambda connection: preview(connection, scope, now, allowed_dags)
        )
    values: dict[str, Any] = {
        "form": silence_form,
        "scope": scope,
        "problem": problem,
        "covered": covered,
        "allowed": allowed,
        "zone": zone,
        "choices": forms.choices(now, zone),
    }
    return render(request, "silence_new.html", principal, status if problem else 200, **values)


@router.post("/{silence_id}/end")
async def end(
    request: Request, services: ServicesDep, principal: PagePrincipal, silence_id: Id
) -> RedirectResponse:
    """End a silence, from the list."""
    await silences_api.end(request, services, principal, silence_id)
    return redirect(request, "/silences")
