"""The API of silences: what causes no notification for a while, with author and reason."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictBool, StrictInt, model_validator
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor.event_log.filters import AllowedDags
from monitor.events.data import YEARS, Moment
from monitor.notifications import silences
from monitor.notifications.silences import Silence, SilenceScope, TooManySilences
from monitor.rules.model import Duration, Match
from monitor.web.api.incidents import Reason
from monitor.web.api.models import SilencePage, SilenceResponse
from monitor.web.auth.authenticator import Principal
from monitor.web.dependencies import ApiPrincipal, require_csrf
from monitor.web.problems import Invalid
from monitor.web.query_params import MAX_SEQ, Id, SilencesQuery
from monitor.web.responses import PROBLEMS, WRITING, ETagRoute, Paging, etag_responses, problems
from monitor.web.services import Services, ServicesDep
from monitor.web.silence_validation import MAX_SILENCE, incident_scope, may_silence, mistake_in

router = APIRouter(prefix="/api/v1/silences", tags=["silences"], responses=PROBLEMS, route_class=ETagRoute)

EXAMPLES: list[JsonValue] = [
    {"match": {"deployment": "local", "dag_id": "etl"}, "reason": "the source is down", "duration": "8h"},
    {
        "match": {"type": "airflow.dag_run.*", "tags": ["nightly"]},
        "reason": "the warehouse moves",
        "starts_at": "2026-11-28T20:00:00Z",
        "ends_at": "2026-11-29T06:00:00Z",
    },
    {"incident_id": 12, "reason": "the file is being mended", "duration": "1h"},
    {
        "match": {"deployment": "staging"},
        "whole_airflow": True,
        "reason": "Airflow is being upgraded",
        "duration": "2h",
    },
]
ONE_OF_EACH: list[JsonValue] = [
    {"required": [what, end]} for what in ("match", "incident_id") for end in ("ends_at", "duration")
]


class NewSilence(BaseModel):
    """A silence to be made."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": EXAMPLES, "oneOf": ONE_OF_EACH})
    match: Match | None = Field(
        None, description="As `match` of a rule (docs/rules.md). Give this or `incident_id`"
    )
    incident_id: Annotated[StrictInt, Field(ge=1, le=MAX_SEQ)] | None = Field(
        None,
        description="What this incident is about: the DAG whose runs fail; else the incident alone, now and "
        "when it comes again",
    )
    whole_airflow: StrictBool = Field(
        False, description="Say true where `match` names no DAG, task, asset, tag or owner, and you mean that"
    )
    reason: Reason
    starts_at: Moment | None = Field(None, description="Default: now")
    ends_at: Moment | None = Field(None, description="Give this or `duration`")
    duration: Annotated[Duration, Field(gt=timedelta(0), le=MAX_SILENCE)] | None = Field(
        None, description="From its start: `8h`, `1d`"
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> "NewSilence":
        if (self.match is None) == (self.incident_id is None):
            raise ValueError("give either match or incident_id")
        if (self.ends_at is None) == (self.duration is None):
            raise ValueError("give either ends_at or duration")
        return self

    def span(self, now: datetime) -> tuple[datetime, datetime]:
        """Return the silence's start and end in UTC. Raises Invalid."""
        starts_at = self.starts_at or now
        if (
            self.ends_at is None and starts_at.year + 2 not in YEARS
        ):  # MAX_SILENCE reaches into the year after next
            raise Invalid("starts_at", "is too near the end of the calendar; give an earlier moment")
        return starts_at, self.ends_at or starts_at + (self.duration or timedelta(0))


@router.get(
    "", response_model=SilencePage, operation_id="listSilences", responses=etag_responses(listed=True)
)
async def all_silences(
    services: ServicesDep, principal: ApiPrincipal, pager: Paging, query: Annotated[SilencesQuery, Query()]
) -> dict[str, Any]:
    """Return silences, newest first. A silence of several DAGs is shown to readers of every DAG."""
    now, allowed_dags = services.clock(), await services.authenticator.get_permissions(principal)
    rows = await services.database.read(
        lambda connection: silences.page(
            connection=connection,
            limit=query.limit + 1,
            before=query.cursor,
            active_at=now if query.active else None,
            allowed_dags=allowed_dags,
            deployment=query.deployment,
            dag_id=query.dag_id,
        )
    )
    return pager.page(
        "silences", [format_silence(row, now) for row in rows], query.limit, lambda row: row["id"]
    )


@router.get(
    "/{silence_id}",
    response_model=SilenceResponse,
    operation_id="getSilence",
    responses=etag_responses() | problems(404),
)
async def silence(services: ServicesDep, principal: ApiPrincipal, silence_id: Id) -> dict[str, Any]:
    """Return one silence."""
    allowed_dags = await services.authenticator.get_permissions(principal)
    found = await services.database.read(
        lambda connection: silences.find(connection, silence_id, allowed_dags)
    )
    if found is None:
        raise _unknown(silence_id)
    return format_silence(found, services.clock())


@router.post(
    "",
    status_code=201,
    response_model=SilenceResponse,
    response_description="The silence, which holds from its start on",
    operation_id="makeSilence",
    responses=WRITING | problems(404, 409),
)
async def make(
    request: Request, services: ServicesDep, principal: ApiPrincipal, new_silence: NewSilence
) -> dict[str, Any]:
    """Silence what matches, or what an incident is about.
    Only readers of every DAG may silence more than one DAG."""
    await require_csrf(request, principal)
    starts_at, ends_at = new_silence.span(services.clock())
    scope = SilenceScope(new_silence.match) if new_silence.match is not None else None
    if scope is None:
        scope = await incident_scope(services, principal, new_silence.incident_id or 0)
    made = await add(
        services, principal, scope, new_silence.reason, starts_at, ends_at, new_silence.whole_airflow
    )
    return format_silence(made, services.clock())


async def add(
    services: Services,
    principal: Principal,
    scope: SilenceScope,
    reason: str,
    starts_at: datetime,
    ends_at: datetime,
    whole_airflow: bool = False,
) -> Silence:
    """Make a silence. Raises 403 if the reader may not, 409 for too many, and 422 for a wrong value."""
    now = services.clock()
    if mistake := mistake_in(scope, starts_at, ends_at, now, whole_airflow):
        field, _, text = mistake.partition(": ")
        raise Invalid(field, text)
    if not await may_silence(principal, scope):
        raise HTTPException(
            403,
            "match: is not of one DAG that you may read; name exactly one deployment and one dag_id, without "
            "* and ?. To silence more takes the right to read every DAG",
        )
    try:
        return await services.database.write(
            lambda connection: silences.add(
                connection,
                scope.match,
                principal.name,
                reason,
                starts_at,
                ends_at,
                now,
                incident=scope.incident,
                share=principal.whose,
            )
        )
    except TooManySilences as many:
        raise HTTPException(409, str(many)) from None


@router.delete(
    "/{silence_id}",
    response_model=SilenceResponse,
    response_description="The silence, over now",
    operation_id="endSilence",
    responses=WRITING | problems(404),
)
async def end(
    request: Request, services: ServicesDep, principal: ApiPrincipal, silence_id: Id
) -> dict[str, Any]:
    """End the silence now. A silence that is over stays as it is."""
    await require_csrf(request, principal)
    allowed_dags, now = await services.authenticator.get_permissions(principal), services.clock()
    found = await services.database.write(
        lambda connection: end_silence(connection, silence_id, allowed_dags, principal.name, now)
    )
    if found is None:
        raise _unknown(silence_id)
    return format_silence(found, now)


def end_silence(
    connection: Connection, silence_id: int, allowed_dags: AllowedDags, who: str, now: datetime
) -> Silence | None:
    """End a silence and return it, or None if the reader may not see it."""
    if silences.find(connection, silence_id, allowed_dags) is None:
        return None
    return silences.end(connection, silence_id, who, now)


def format_silence(silence: Silence, now: datetime) -> dict[str, Any]:
    """Return the silence with its state."""
    return vars(silence) | {"state": state(silence, now)}


def state(silence: Silence, now: datetime) -> str:
    """Return `active`, `pending` or `expired`."""
    if silence.is_active(now):
        return "active"
    return "pending" if now < silence.starts_at and now < silence.ends_at else "expired"


def _unknown(silence_id: int) -> HTTPException:
    return HTTPException(404, f"no silence {silence_id} is known")
