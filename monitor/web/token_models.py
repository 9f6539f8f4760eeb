"""The shapes of what the API takes and answers of tokens, as OpenAPI tells them."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from monitor.rules.model import Duration
from monitor.tokens import DEFAULT_LIFE, LONGEST_LIFE, Scope
from monitor.web.answers import Answer
from monitor.web.querying import Globs, no_nul

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


def _repeated(schema: JsonDict) -> None:
    """A scope that is given twice does no harm."""
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
        json_schema_extra=_repeated,
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


class Token(Answer):
    """A program's bearer token; its secret is kept nowhere."""

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


class TokenMade(Token):
    """The one answer that holds the secret."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={"examples": [TOKEN | {"secret": "wst_q7Xz1b… (47 characters)"}]},
    )
    secret: str = Field(description="What to send as `Authorization: Bearer …`; it is shown this once")


class TokenPage(Answer):
    model_config = ConfigDict(
        from_attributes=True, json_schema_extra={"examples": [{"tokens": [TOKEN], "next": None}]}
    )
    tokens: list[Token]
    next: int | None
