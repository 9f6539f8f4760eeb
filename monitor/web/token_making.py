"""Who may make which token, see which and revoke which: what the API and the page share.

Nobody hands on more than they have: a token's DAGs are among its creator's, and a token that makes another
gives it none of the scopes that it lacks itself, and no longer life: it ends when the other is revoked. An
ingest token may tell events of any DAG, so it takes the right to read every one.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from starlette.exceptions import HTTPException

from monitor import board, tokens
from monitor.event_log import Visible
from monitor.tokens import EVERYONE, Draft, NoSuchDag, Owner, Scope, Token, TokenEnded, TooManyTokens, Whose
from monitor.web.gate import Reader
from monitor.web.reader import sight_now
from monitor.web.services import Services

NOBODY = Whose(owner=Owner("", frozenset()))
"""No user has an empty name."""

logger = logging.getLogger(__name__)


async def whose(here: Services, reader: Reader) -> Whose:
    """The tokens that the reader sees and revokes: one's own, of no Airflow that has not accepted the reader;
    who reads every DAG, all."""
    if await here.gate.sight(reader) is None:
        return EVERYONE
    # The machine's own tokens are of many: one of them that reads few DAGs has no say about the others.
    return NOBODY if reader.owner is None else Whose(owner=reader.owner)


async def make(
    here: Services,
    reader: Reader,
    name: str,
    scopes: frozenset[Scope],
    life: timedelta,
    globs: Sequence[str],
    deployments: Sequence[str] = (),
) -> tuple[Token, str]:
    """A token and its secret. Raises 403 where the reader may not, 409 and 422 where it cannot be."""
    now, sight = here.clock(), await sight_now(reader)
    _check(reader, scopes, life, sight, now)
    dags = await _dags(here, sight, globs)
    made_by = reader.token.id if reader.token else None
    draft = Draft(name, scopes, dags, life, _deployments(here, reader, scopes, deployments), made_by)
    try:
        token, secret = await here.database.write(
            lambda connection: tokens.add(connection, draft, reader.owner, now)
        )
    except TooManyTokens as many:
        raise HTTPException(409, str(many)) from None
    except TokenEnded as ended:
        here.gate.tokens.forget()
        raise HTTPException(401, str(ended)) from None
    logger.info("%s made token %d (%s…, %r: %s)", reader.name, token.id, token.prefix, name, _words(scopes))
    return token, secret


async def revoke(here: Services, reader: Reader, token_id: int) -> Token:
    """End it, what it has made, and the feeds that they hold open. Raises 404."""
    theirs, now = await whose(here, reader), here.clock()
    found = await here.database.write(lambda connection: tokens.revoke(connection, theirs, token_id, now))
    if found is None:
        raise HTTPException(404, f"no token {token_id} of yours is known")
    logger.info("%s revoked token %d (%s…, %r)", reader.name, found.id, found.prefix, found.name)
    here.gate.tokens.forget()
    here.feeds.rights_changed()
    return found


def _check(reader: Reader, scopes: frozenset[Scope], life: timedelta, sight: Visible, now: datetime) -> None:
    if reader.is_nameless:
        raise HTTPException(
            403,
            "Airflow's token does not say whose it is, and a Windsock token is always somebody's: sign in on "
            "the page Tokens, or use `windsock token create`",
        )
    if Scope.INGEST in scopes and sight is not None:
        raise HTTPException(
            403, "scopes: 'ingest' may report events of any DAG, so it takes the right to read every DAG"
        )
    if reader.token is None:
        return
    for scope in sorted(scopes):
        reader.require(scope)
    if now + life > reader.token.expires_at:
        raise HTTPException(
            422,
            "expires_in: a token makes none that outlives it, and this one ends "
            f"{reader.token.expires_at:%Y-%m-%d %H:%M} UTC; give less",
        )


async def _dags(here: Services, sight: Visible, globs: Sequence[str]) -> Visible:
    if not globs:
        return sight
    known = sight if sight is not None else await here.database.read(board.every_dag)
    try:
        return tokens.within(known, globs)
    except NoSuchDag as error:
        raise HTTPException(422, str(error)) from None


def _deployments(
    here: Services, reader: Reader, scopes: frozenset[Scope], wanted: Sequence[str]
) -> frozenset[str] | None:
    """Return what an ingest token reports for. Raises 422 for a deployment that the maker has not."""
    if Scope.INGEST not in scopes:
        if wanted:
            raise HTTPException(
                422, "deployments: only a token of the scope 'ingest' reports; leave them out"
            )
        return None
    first = here.settings.deployment
    known = here.settings.ingest_secrets.keys() if reader.token is None else reader.token.reports_for(first)
    for name in wanted:
        if name not in known:
            raise HTTPException(
                422,
                f"deployments: {name[:80]!r} is none that you may report for; "
                f"known: {', '.join(sorted(known))}",
            )
    return frozenset(wanted or (first,))


def _words(scopes: frozenset[Scope]) -> str:
    return ", ".join(sorted(scopes))
