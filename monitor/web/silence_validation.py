"""The validation of a silence: who may make it, and what is wrong with it.

The API, the page and the link in a mail share it.
"""

from datetime import datetime, timedelta

from starlette.exceptions import HTTPException

from monitor.notifications import incidents
from monitor.notifications.silences import CHOOSING, SilenceScope
from monitor.rules.model import Match
from monitor.web.auth.authenticator import Principal
from monitor.web.dependencies import refresh_permissions
from monitor.web.services import Services

MAX_REASON = 500  # characters: it stands in the ledger with each decision
MAX_AUTHOR = 100
MAX_SILENCE = timedelta(days=366)  # a longer time is a rule's business, and would be forgotten
MAX_VALUES = 20  # of one field of a match: each active silence is held against each event
MAX_MATCHES = 50  # in one, however nested: the same
MAX_DEPTH = 5  # of any_of and none_of: people read no more, and the code that reads them is recursive


async def may_silence(principal: Principal, scope: SilenceScope) -> bool:
    """Return True if the reader may silence this scope.
    Readers of a DAG may silence that DAG. More takes a reader who may read every DAG at this moment. Raises
    503 if Airflow cannot be asked for that."""
    if scope.dag is not None and (principal.allowed_dags is None or scope.dag in principal.allowed_dags):
        return True
    return await refresh_permissions(principal) is None


async def incident_scope(services: Services, principal: Principal, incident_id: int) -> SilenceScope:
    """Return the scope of an incident. Raises 404 if the reader may see no such incident."""
    allowed_dags = await services.authenticator.get_permissions(principal)
    found = await services.database.read(
        lambda connection: incidents.find(connection, incident_id, allowed_dags)
    )
    if found is None:
        raise HTTPException(404, f"no incident {incident_id} is known")
    return SilenceScope.from_incident(found)


def mistake_in(
    scope: SilenceScope, starts_at: datetime, ends_at: datetime, now: datetime, whole_airflow: bool = False
) -> str | None:
    """Return the mistake in a new silence, with the field, the value and the remedy, or None.
    `whole_airflow` says that a whole Airflow is meant."""
    if too_much := _too_much(scope.match):
        return too_much
    if mistake := whole_mistake(scope, whole_airflow):
        return mistake
    if ends_at <= now:
        return f"ends_at: {ends_at:%Y-%m-%d %H:%M} UTC is over already; give a moment to come"
    if ends_at <= starts_at:
        return f"ends_at: {ends_at:%Y-%m-%d %H:%M} UTC is not after starts_at; give a later moment"
    if ends_at - max(starts_at, now) > MAX_SILENCE:
        return f"ends_at: a silence lasts at most {MAX_SILENCE.days} days; leave the event out of the rules"
    return None


def whole_mistake(scope: SilenceScope, whole_airflow: bool) -> str | None:
    """Return a mistake if a whole Airflow is silenced unsaid, or less than was said."""
    if scope.is_whole and not whole_airflow:
        of = (
            f"the Airflow {' or '.join(scope.match.deployment)}"
            if scope.match.deployment
            else "every Airflow"
        )
        return (
            f"match: names no {', '.join(CHOOSING[:-1])} or {CHOOSING[-1]}, so it would silence {of} as a "
            "whole; name one, or, where you mean that, say whole_airflow"
        )
    if whole_airflow and not scope.is_whole:
        return "whole_airflow: the match names less than a whole Airflow; give one or the other"
    return None


def _too_much(match: Match) -> str | None:
    """Return a mistake if any part of the match is more than each event can be compared with."""
    pending, seen = [("match", match, 1)], 0
    while pending:
        path, current, depth = pending.pop()
        seen += 1
        if depth > MAX_DEPTH:
            return f"{path}: is nested {depth} deep; at most {MAX_DEPTH}, write it flatter"
        if seen > MAX_MATCHES:
            return f"match: holds more than {MAX_MATCHES} matches; make several silences of it"
        for name in current.model_fields_set:
            values = getattr(current, name)
            if len(values) > MAX_VALUES:
                return f"{path}.{name}: {len(values)} values; at most {MAX_VALUES}"
            if name in ("any_of", "none_of"):
                pending += [(f"{path}.{name}.{at}", inner, depth + 1) for at, inner in enumerate(values)]
    return None
