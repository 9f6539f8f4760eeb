"""Tokens for programs: make one, list them, revoke one."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from monitor import tokens
from monitor.clock import Clock
from monitor.web.answers import PROBLEMS, WRITING, polled, problems
from monitor.web.paging import Paging
from monitor.web.polled import Polled
from monitor.web.querying import Id, Paged
from monitor.web.reader import ApiReader, require_csrf
from monitor.web.services import Here
from monitor.web.token_making import make, revoke, whose
from monitor.web.token_models import NewToken, Token, TokenMade, TokenPage

router = APIRouter(prefix="/api/v1/tokens", tags=["tokens"], responses=PROBLEMS, route_class=Polled)


@router.get("", response_model=TokenPage, operation_id="listTokens", responses=polled(listed=True))
async def all_tokens(
    here: Here, reader: ApiReader, pager: Paging, query: Annotated[Paged, Query()]
) -> dict[str, Any]:
    """Your tokens, newest first; everybody's for those who may read every DAG."""
    theirs = await whose(here, reader)
    found = await here.database.read(
        lambda connection: tokens.page(connection, theirs, query.limit + 1, query.cursor)
    )
    return pager.page("tokens", [told(one, here.clock) for one in found], query.limit, lambda one: one["id"])


@router.post(
    "",
    status_code=201,
    response_model=TokenMade,
    response_description="The token, with its secret",
    operation_id="makeToken",
    responses=WRITING | problems(409),
)
async def make_one(
    request: Request, answer: Response, here: Here, reader: ApiReader, given: NewToken
) -> dict[str, Any]:
    """Make a token. The answer holds its secret, this once; it reads what you may read now, and no more."""
    await require_csrf(request, reader)
    made, secret = await make(
        here, reader, given.name, given.scopes, given.expires_in, given.dags, given.deployments
    )
    answer.headers["Cache-Control"] = "no-store"
    return told(made, here.clock) | {"secret": secret}


@router.delete(
    "/{token_id}", response_model=Token, operation_id="revokeToken", responses=WRITING | problems(404)
)
async def revoke_one(request: Request, here: Here, reader: ApiReader, token_id: Id) -> dict[str, Any]:
    """Revoke a token and those that it has made: they count no more, and their open feeds end."""
    await require_csrf(request, reader)
    return told(await revoke(here, reader, token_id), here.clock)


def told(token: tokens.Token, clock: Clock) -> dict[str, Any]:
    dags = None if token.dags is None else len(token.dags)
    accepted = None if token.authenticated_by is None else sorted(token.authenticated_by)
    changed = {"scopes": sorted(token.scopes), "dags": dags, "authenticated_by": accepted}
    return vars(token) | changed | {"state": token.state(clock())}
