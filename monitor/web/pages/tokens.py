"""The page `/tokens`: the reader's tokens, a form that makes one, and a button that revokes one."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, Field, StringConstraints
from starlette.exceptions import HTTPException

from monitor.web.api.tokens import TokenName, make, owner_filter, revoke
from monitor.web.auth import tokens
from monitor.web.auth.authenticator import Principal
from monitor.web.auth.tokens import DEFAULT_LIFE, LONGEST_LIFE, Scope
from monitor.web.dependencies import PagePrincipal, require_csrf
from monitor.web.paths import redirect
from monitor.web.query_params import MAX_NAME, Id, Paged
from monitor.web.responses import cut_page
from monitor.web.services import Services, ServicesDep
from monitor.web.templating import render

DAYS = (7, 30, DEFAULT_LIFE.days, LONGEST_LIFE.days)
SCOPES = {
    Scope.READ: "pages, API and feed",
    Scope.ADMIN: "effects too: resend, silence, acknowledge, close, tokens",
    Scope.INGEST: "sends events, of any DAG",
}

PATH = "/tokens"

router = APIRouter(prefix=PATH, include_in_schema=False)


class TokenForm(BaseModel):
    """The form of a new token."""

    name: TokenName
    scope: list[Scope] = []
    days: int = Field(DEFAULT_LIFE.days, ge=1, le=LONGEST_LIFE.days)
    dags: Annotated[str, StringConstraints(max_length=MAX_NAME)] = ""


@router.get("")
async def list_tokens(
    request: Request, services: ServicesDep, principal: PagePrincipal, query: Annotated[Paged, Query()]
) -> HTMLResponse:
    """Show the user's own tokens, newest first, or everybody's to a reader of every DAG."""
    secret = services.authenticator.flash.read_message(request)
    page = await _page(request, services, principal, query=query, secret=secret)
    if secret:
        services.authenticator.flash.forget(request, page, PATH)
    return page


@router.post("")
async def create_token(
    request: Request, services: ServicesDep, principal: PagePrincipal, form: Annotated[TokenForm, Form()]
) -> Response:
    """Make a token. Its secret is kept nowhere: the page that follows shows it this once."""
    await require_csrf(request, principal)
    if not form.scope:
        return await _page(request, services, principal, 422, problem="scope: choose what the token is for")
    globs = form.dags.replace(",", " ").split()
    try:
        _, secret = await make(
            services, principal, form.name, frozenset(form.scope), timedelta(days=form.days), globs
        )
    except HTTPException as refusal:
        return await _page(request, services, principal, refusal.status_code, problem=refusal.detail)
    answer = redirect(request, PATH)
    services.authenticator.flash.say(request, answer, PATH, secret)
    return answer


@router.post("/{token_id}/revoke")
async def revoke_token(
    request: Request, services: ServicesDep, principal: PagePrincipal, token_id: Id
) -> RedirectResponse:
    """Revoke a token, from the list."""
    await require_csrf(request, principal)
    await revoke(services, principal, token_id)
    return redirect(request, PATH)


async def _page(
    request: Request,
    services: Services,
    principal: Principal,
    status: int = 200,
    query: Paged | None = None,
    problem: str | None = None,
    secret: str | None = None,
) -> HTMLResponse:
    owner, paged = await owner_filter(services, principal), query or Paged()
    found = await services.database.read(
        lambda connection: tokens.page(connection, owner, paged.limit + 1, paged.cursor)
    )
    page, following = cut_page(found, paged.limit, lambda token: token.id)
    values: dict[str, Any] = {
        "tokens": page,
        "next": following,
        "now": services.clock(),
        "problem": problem,
        "secret": secret,
        "has_several_airflows": services.authenticator.has_several,
    }
    return render(request, "tokens.html", principal, status, days=DAYS, scopes=SCOPES, **values)
