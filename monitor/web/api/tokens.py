"""The API of programs' tokens, `/api/v1/tokens`, and its checks.

`owner_filter`, `make` and `revoke` check who may see, make and revoke which token. The API and the page
share them.

No user hands on more rights than they have. A token's DAGs are among its creator's. A token that makes
another gives it only scopes that it has itself, and no longer life. If the first token is revoked, the
second ends too. An ingest token may report events of any DAG, so making one takes the right to read every
DAG."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict
from starlette.exceptions import HTTPException

from monitor.clock import Clock
from monitor.event_log.filters import AllowedDags
from monitor.event_log.projections import dags as dags_projection
from monitor.plain_text import no_nul
from monitor.rules.model import Duration
from monitor.web.auth import tokens as auth_tokens
from monitor.web.auth.authenticator import Principal
from monitor.web.auth.tokens import (
    DEFAULT_LIFE,
    EVERYONE,
    LONGEST_LIFE,
    Draft,
    NoSuchDag,
    Owner,
    Scope,
    TokenEnded,
    TokenOwnerFilter,
    TooManyTokens,
)
from monitor.web.auth.tokens import Token as StoredToken
from monitor.web.dependencies import ApiPrincipal, refresh_permissions, require_csrf
from monitor.web.query_params import Globs, Id, Paged
from monitor.web.responses import (
    PROBLEMS,
    WRITING,
    ETagRoute,
    Paging,
    ResponseModel,
    etag_responses,
    problems,
)
from monitor.web.services import Services, ServicesDep

MAX_NAME = 100  # characters
MAX_DEPLOYMENTS = 100  # of one token
SHORTEST = timedelta(minutes=1)

TokenName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_NAME),
    AfterValidator(no_nul),
]
Scopes = Annotated[frozenset[Scope], Field(min_length=1)]
TOKEN: dict[str, Any] = {
    "id": 3,
    "prefix": "wst_q7Xz1b",
    "name": "the wall's screen",
    "scopes": ["read"],
    "created_by": "alice",
    "authenticated_by": ["local"],
    "dags": 12,
    "created_at": "2026-11-22T10:15:00Z",
    "expires_at": "2027-02-20T10:15:00Z",
    "last_used_at": None,
    "revoked_at": None,
    "state": "active",
}


def _allow_repeats(schema: JsonDict) -> None:
    """Let the schema allow a scope that is given twice, which does no harm."""
    schema.pop("uniqueItems")


class NewToken(BaseModel):
    """A token to be made."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"name": "the wall's screen", "scopes": ["read"], "expires_in": "90d"},
                {"name": "etl's own", "scopes": ["admin"], "dags": ["etl", "etl_*"]},
            ]
        },
    )
    name: TokenName = Field(description="What it is for, for those who look at the list")
    scopes: Scopes = Field(
        description="`read`: pages, API and feed; `admin`: effects too; `ingest`: sends events",
        json_schema_extra=_allow_repeats,
    )
    expires_in: Annotated[Duration, Field(ge=SHORTEST, le=LONGEST_LIFE)] = Field(
        DEFAULT_LIFE, description="`30d`, `12h`; 365 days at most", json_schema_extra={"default": "90d"}
    )
    dags: Globs = Field(
        [], description="Globs of dag_ids within what its creator may read; none: all of that"
    )
    deployments: Annotated[list[str], Field(max_length=MAX_DEPLOYMENTS)] = Field(
        [], description="`ingest` only: the deployments that it may report for; none: the first Airflow's"
    )


class TokenResponse(ResponseModel):
    """A program's bearer token. Its secret is kept nowhere."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [TOKEN]})
    id: int
    prefix: str = Field(description="The first signs of the secret, to know it again by")
    name: str
    scopes: list[Scope]
    created_by: str | None = Field(description="The Airflow user; null: somebody at the monitor's machine")
    authenticated_by: list[str] | None = Field(
        description="The deployments whose Airflows accepted the creator's name and password; null: nobody "
        "signed in, or the token is older than this field"
    )
    dags: int | None = Field(description="How many DAGs it may read; null: every one")
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = Field(description="Exact to a minute")
    revoked_at: datetime | None
    state: Literal["active", "expired", "revoked"]


class TokenMade(TokenResponse):
    """The one answer that holds the secret."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={"examples": [TOKEN | {"secret": "wst_q7Xz1b… (47 characters)"}]},
    )
    secret: str = Field(description="What to send as `Authorization: Bearer …`; it is shown this once")


class TokenPage(ResponseModel):
    """A page of tokens."""

    model_config = ConfigDict(
        from_attributes=True, json_schema_extra={"examples": [{"tokens": [TOKEN], "next": None}]}
    )
    tokens: list[TokenResponse]
    next: int | None


NOBODY = TokenOwnerFilter(owner=Owner("", frozenset()))
"""No user has an empty name."""

logger = logging.getLogger(__name__)


async def owner_filter(services: Services, principal: Principal) -> TokenOwnerFilter:
    """Return the tokens that the reader sees and revokes.
    They are the reader's own, or all for a reader of every DAG. A token is the reader's own only if every
    Airflow that accepted its creator accepts the reader."""
    if await services.authenticator.get_permissions(principal) is None:
        return EVERYONE
    # The machine's own tokens are of many: one of them that reads few DAGs has no say about the others.
    return NOBODY if principal.owner is None else TokenOwnerFilter(owner=principal.owner)


async def make(
    services: Services,
    principal: Principal,
    name: str,
    scopes: frozenset[Scope],
    life: timedelta,
    globs: Sequence[str],
    deployments: Sequence[str] = (),
) -> tuple[StoredToken, str]:
    """Make a token and return it with its secret.
    Raises 403 if the reader may not, 409 and 422 if it cannot be."""
    now, allowed_dags = services.clock(), await refresh_permissions(principal)
    _check(principal, scopes, life, allowed_dags, now)
    dags = await _dags(services, allowed_dags, globs)
    made_by = principal.token.id if principal.token else None
    draft = Draft(name, scopes, dags, life, _deployments(services, principal, scopes, deployments), made_by)
    try:
        token, secret = await services.database.write(
            lambda connection: auth_tokens.add(connection, draft, principal.owner, now, principal.whose)
        )
    except TooManyTokens as many:
        raise HTTPException(409, str(many)) from None
    except TokenEnded as ended:
        services.authenticator.tokens.forget()
        raise HTTPException(401, str(ended)) from None
    logger.info(
        "%s made token %d (%s…, %r: %s)", principal.name, token.id, token.prefix, name, _words(scopes)
    )
    return token, secret


async def revoke(services: Services, principal: Principal, token_id: int) -> StoredToken:
    """End it, what it has made, and the feeds that they hold open. Raises 404."""
    owner, now = await owner_filter(services, principal), services.clock()
    found = await services.database.write(
        lambda connection: auth_tokens.revoke(connection, owner, token_id, now)
    )
    if found is None:
        raise HTTPException(404, f"no token {token_id} of yours is known")
    logger.info("%s revoked token %d (%s…, %r)", principal.name, found.id, found.prefix, found.name)
    services.authenticator.tokens.forget()
    services.feed_server.rights_changed()
    return found


def _check(
    principal: Principal, scopes: frozenset[Scope], life: timedelta, allowed_dags: AllowedDags, now: datetime
) -> None:
    if principal.is_nameless:
        raise HTTPException(
            403,
            "Airflow's token does not say whose it is, and a Windsock token is always somebody's: sign in on "
            "the page Tokens, or use `windsock token create`",
        )
    if Scope.INGEST in scopes and allowed_dags is not None:
        raise HTTPException(
            403, "scopes: 'ingest' may report events of any DAG, so it takes the right to read every DAG"
        )
    if principal.token is None:
        return
    for scope in sorted(scopes):
        principal.require(scope)
    if now + life > principal.token.expires_at:
        raise HTTPException(
            422,
            "expires_in: a token makes none that outlives it, and this one ends "
            f"{principal.token.expires_at:%Y-%m-%d %H:%M} UTC; give less",
        )


async def _dags(services: Services, allowed_dags: AllowedDags, globs: Sequence[str]) -> AllowedDags:
    if not globs:
        return allowed_dags
    readable = (
        allowed_dags if allowed_dags is not None else await services.database.read(dags_projection.every_dag)
    )
    try:
        return auth_tokens.within(readable, globs)
    except NoSuchDag as error:
        raise HTTPException(422, str(error)) from None


def _deployments(
    services: Services, principal: Principal, scopes: frozenset[Scope], names: Sequence[str]
) -> frozenset[str] | None:
    """Return what an ingest token reports for. Raises 422 for a deployment that the maker has not."""
    if Scope.INGEST not in scopes:
        if names:
            raise HTTPException(
                422, "deployments: only a token of the scope 'ingest' reports; leave them out"
            )
        return None
    first = services.settings.deployment
    known_names = (
        services.settings.ingest_secrets.keys()
        if principal.token is None
        else principal.token.reports_for(first)
    )
    for name in names:
        if name not in known_names:
            raise HTTPException(
                422,
                f"deployments: {name[:80]!r} is none that you may report for; "
                f"known: {', '.join(sorted(known_names))}",
            )
    return frozenset(names or (first,))


def _words(scopes: frozenset[Scope]) -> str:
    return ", ".join(sorted(scopes))


router = APIRouter(prefix="/api/v1/tokens", tags=["tokens"], responses=PROBLEMS, route_class=ETagRoute)


@router.get("", response_model=TokenPage, operation_id="listTokens", responses=etag_responses(listed=True))
async def all_tokens(
    services: ServicesDep, principal: ApiPrincipal, pager: Paging, query: Annotated[Paged, Query()]
) -> dict[str, Any]:
    """Return your tokens, newest first, or everybody's if you may read every DAG."""
    owner = await owner_filter(services, principal)
    found = await services.database.read(
        lambda connection: auth_tokens.page(connection, owner, query.limit + 1, query.cursor)
    )
    return pager.page(
        "tokens", [format_token(row, services.clock) for row in found], query.limit, lambda row: row["id"]
    )


@router.post(
    "",
    status_code=201,
    response_model=TokenMade,
    response_description="The token, with its secret",
    operation_id="makeToken",
    responses=WRITING | problems(409),
)
async def create_token(
    request: Request, answer: Response, services: ServicesDep, principal: ApiPrincipal, new_token: NewToken
) -> dict[str, Any]:
    """Make a token.
    The answer holds its secret, this once. The token reads what you may read now, and no more."""
    await require_csrf(request, principal)
    made, secret = await make(
        services,
        principal,
        new_token.name,
        new_token.scopes,
        new_token.expires_in,
        new_token.dags,
        new_token.deployments,
    )
    answer.headers["Cache-Control"] = "no-store"
    return format_token(made, services.clock) | {"secret": secret}


@router.delete(
    "/{token_id}", response_model=TokenResponse, operation_id="revokeToken", responses=WRITING | problems(404)
)
async def revoke_token(
    request: Request, services: ServicesDep, principal: ApiPrincipal, token_id: Id
) -> dict[str, Any]:
    """Revoke a token and those that it has made. They no longer count, and their open feeds end."""
    await require_csrf(request, principal)
    return format_token(await revoke(services, principal, token_id), services.clock)


def format_token(token: StoredToken, clock: Clock) -> dict[str, Any]:
    """Return the token for an answer."""
    dags = None if token.dags is None else len(token.dags)
    accepted = None if token.authenticated_by is None else sorted(token.authenticated_by)
    changed = {"scopes": sorted(token.scopes), "dags": dags, "authenticated_by": accepted}
    return vars(token) | changed | {"state": token.state(clock())}
