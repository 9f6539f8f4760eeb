"""Bearer tokens of Windsock's own, for programs. Only this module names their table.

A secret is 256 random bits, so a plain SHA-256 of it is kept: nobody finds it by trying, which is all that a
slow hash for passwords is slow against. It is looked up by that hash, so no comparison tells by its time how
much of a guess was right.

A token never sees more than its creator saw: the DAGs that the creator could read are kept with it, and
narrow() takes away those that the creator has lost since. What a token has made ends with it: whoever had a
leaked one may have made others.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, func, insert, or_, select, true, update

from monitor.database.schema import tokens as table
from monitor.errors import WindsockError
from monitor.event_log import Visible
from monitor.rules.globs import matches, matches_any

PREFIX = "wst_"
"""Of every secret, so that scanners for leaked ones, and the gate, know it from others."""
SECRET_BYTES = 32
SHOWN_SIGNS = len(PREFIX) + 6  # of a secret in lists: 36 of its 256 bits
DEFAULT_LIFE = timedelta(days=90)
LONGEST_LIFE = timedelta(days=365)  # what nobody has renewed within a year, nobody knows of any more
MOST = 100  # tokens of one creator that are in force; more is a program that makes them in a loop
DAY = timedelta(days=1)
MOST_A_DAY = 200  # made by one creator: those that were revoked at once stay in the table, too
KEPT = timedelta(days=365)  # after its end a token stands in the list for whoever asks what had access
USE_SECONDS = 60  # how exactly the last use is known: a program that asks all day writes once a minute


class Scope(str, Enum):
    """What a token is for. Admin may all that read may."""

    READ = "read"
    INGEST = "ingest"
    ADMIN = "admin"


class TooManyTokens(WindsockError):
    """The creator has as many in force, or has made as many lately, as anybody may."""


class TokenEnded(WindsockError):
    """The token that makes another counts no more."""


class NoSuchDag(WindsockError):
    """A glob takes no DAG that may be read: it is misspelt."""


@dataclass(frozen=True)
class Draft:
    """A token to be made."""

    name: str
    scopes: frozenset[Scope]
    dags: Visible
    life: timedelta = DEFAULT_LIFE
    deployments: frozenset[str] | None = None
    """What an ingest token may report for; None: the first Airflow's deployment."""
    made_by: int | None = None
    """The token that makes it; None: a person does."""


@dataclass(frozen=True)
class Token:
    id: int
    prefix: str
    name: str
    scopes: frozenset[Scope]
    created_by: str | None
    """The Airflow user, as owner_of() writes it; None: somebody at the monitor's machine."""
    dags: Visible = field(repr=False)
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    deployments: frozenset[str] | None = None
    """The deployments that an ingest token may report for; None of a token that is older than this field."""
    made_by: int | None = None
    """The token that made it; None: a person did, or it is older than this field."""

    @classmethod
    def of(cls, row: RowMapping) -> "Token":
        values: dict[str, Any] = {name: row[name] for name in cls.__dataclass_fields__}
        dags = None if row["dags"] is None else frozenset((name, dag) for name, dag in row["dags"])
        deployments = None if row["deployments"] is None else frozenset(row["deployments"])
        return cls(
            **{
                **values,
                "dags": dags,
                "scopes": frozenset(map(Scope, row["scopes"])),
                "deployments": deployments,
            }
        )

    def reports_for(self, first: str) -> frozenset[str]:
        """Return the deployments that it may report for; `first`: what an older token means."""
        return frozenset((first,)) if self.deployments is None else self.deployments

    def allows(self, scope: Scope) -> bool:
        return scope in self.scopes or (scope is Scope.READ and Scope.ADMIN in self.scopes)

    def ended(self, now: datetime) -> str | None:
        """Why it counts no more; None: it does."""
        if self.revoked_at is not None:
            return f"was revoked on {self.revoked_at:%Y-%m-%d %H:%M} UTC"
        if self.expires_at <= now:
            return f"has expired on {self.expires_at:%Y-%m-%d %H:%M} UTC"
        return None

    def state(self, now: datetime) -> str:
        return "revoked" if self.revoked_at else "expired" if self.expires_at <= now else "active"


@dataclass(frozen=True)
class Whose:
    """Whose tokens are asked for: all, or those of one creator (None: of the monitor's machine)."""

    all: bool = False
    owner: str | None = None

    def clause(self) -> ColumnElement[bool]:
        return true() if self.all else table.c.created_by.is_not_distinct_from(self.owner)


EVERYONE = Whose(all=True)


def owner_of(user: str) -> str:
    """An Airflow user as tokens and sessions name it: by the very signs that Airflow accepted.

    Some of Airflow's auth managers take names in any case for the same user, others tell them apart; two
    names that only look alike must never share their tokens.
    """
    return user


def within(known: frozenset[tuple[str, str]], globs: Sequence[str]) -> frozenset[tuple[str, str]]:
    """Those of the known DAGs that a glob takes. Raises NoSuchDag."""
    for glob in globs:
        if not any(matches(glob, dag_id) for _, dag_id in known):
            raise NoSuchDag(
                f"dags: {glob[:80]!r} matches no DAG that may be read; write its dag_id, or a glob"
            )
    return frozenset(pair for pair in known if matches_any(globs, pair[1]))


def add(connection: Connection, draft: Draft, created_by: str | None, now: datetime) -> tuple[Token, str]:
    """Make a token; answers it and its secret, which is kept nowhere. Raises TooManyTokens, TokenEnded."""
    if draft.made_by is not None:
        _require_in_force(connection, draft.made_by, now)
    connection.execute(
        delete(table).where(or_(table.c.expires_at < now - KEPT, table.c.revoked_at < now - KEPT))
    )
    in_force = Whose(owner=created_by).clause(), table.c.revoked_at.is_(None), table.c.expires_at > now
    if connection.execute(select(func.count()).where(*in_force)).scalar_one() >= MOST:
        raise TooManyTokens(f"{MOST} tokens are in force already; revoke one that is not used any more")
    lately = Whose(owner=created_by).clause(), table.c.created_at > now - DAY
    if connection.execute(select(func.count()).where(*lately)).scalar_one() >= MOST_A_DAY:
        raise TooManyTokens(f"{MOST_A_DAY} tokens were made within a day; use one that is in force, or wait")
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    values = {
        "hash": hash_of(secret),
        "prefix": secret[:SHOWN_SIGNS],
        "name": draft.name,
        "scopes": sorted(draft.scopes),
        "created_by": created_by,
        "made_by": draft.made_by,
        "dags": _listed(draft.dags),
        "deployments": None if draft.deployments is None else sorted(draft.deployments),
        "created_at": now,
        "expires_at": now + draft.life,
    }
    row = connection.execute(insert(table).values(values).returning(*table.c)).mappings().one()
    return Token.of(row), secret


def _require_in_force(connection: Connection, token_id: int, now: datetime) -> None:
    """Read it once more, and lock it: another replica may be revoking it at this moment."""
    query = select(table).where(table.c.id == token_id).with_for_update()
    row = connection.execute(query).mappings().one_or_none()
    token = Token.of(row) if row else None
    if token is None or (ended := token.ended(now)):
        raise TokenEnded(f"the token {ended if token else 'is known no more'}; it makes no others")


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def of_hash(connection: Connection, digest: str) -> Token | None:
    """The token whose secret has this hash, in force or not."""
    row = connection.execute(select(table).where(table.c.hash == digest)).mappings().one_or_none()
    return Token.of(row) if row else None


def used(connection: Connection, token_id: int, now: datetime) -> None:
    """Note a use; replicas that do so at once write once."""
    before = now - timedelta(seconds=USE_SECONDS)
    stale = or_(table.c.last_used_at.is_(None), table.c.last_used_at <= before)
    connection.execute(update(table).where(table.c.id == token_id, stale).values(last_used_at=now))


def page(connection: Connection, whose: Whose, limit: int, before: int | None = None) -> list[Token]:
    """Newest first; `before` is the last id of the page before."""
    query = select(table).where(whose.clause())
    if before is not None:
        query = query.where(table.c.id < before)
    return [
        Token.of(row) for row in connection.execute(query.order_by(table.c.id.desc()).limit(limit)).mappings()
    ]


def revoke(connection: Connection, whose: Whose, token_id: int, now: datetime) -> Token | None:
    """End it now, and what it has made; what was revoked stays as it is. None: no such one of theirs."""
    mine = table.c.id == token_id, whose.clause()
    ended = _end(connection, *mine, now=now)
    while ended:  # each one is locked before those that it made are read: none can be made meanwhile
        ended = _end(connection, table.c.made_by.in_(ended), now=now)
    row = connection.execute(select(table).where(*mine)).mappings().one_or_none()
    return Token.of(row) if row else None


def _end(connection: Connection, *which: ColumnElement[bool], now: datetime) -> list[int]:
    in_force = *which, table.c.revoked_at.is_(None)
    ended = connection.execute(update(table).where(*in_force).values(revoked_at=now).returning(table.c.id))
    return list(ended.scalars())


def revoke_all(connection: Connection, owner: str, now: datetime) -> int:
    """End all that are in force of an owner, who is gone; answers how many."""
    mine = Whose(owner=owner).clause(), table.c.revoked_at.is_(None), table.c.expires_at > now
    return connection.execute(update(table).where(*mine).values(revoked_at=now)).rowcount


def other_spellings(connection: Connection, owner: str) -> list[str]:
    """Owners of tokens in force whose names differ from this one in case alone."""
    query = select(table.c.created_by).where(table.c.revoked_at.is_(None)).distinct()
    names = connection.execute(query).scalars()
    return sorted(name for name in names if name and name != owner and name.casefold() == owner.casefold())


def narrow(connection: Connection, owner: str, dags: frozenset[tuple[str, str]]) -> list[int]:
    """Take from the owner's tokens what the owner may read no more; answers which have lost some."""
    query = select(table).where(Whose(owner=owner).clause(), table.c.revoked_at.is_(None))
    lost = []
    for token in map(Token.of, connection.execute(query).mappings()):
        left = dags if token.dags is None else token.dags & dags
        if left != token.dags:
            connection.execute(update(table).where(table.c.id == token.id).values(dags=_listed(left)))
            lost.append(token.id)
    return lost


def _listed(dags: Visible) -> Sequence[Sequence[str]] | None:
    return None if dags is None else sorted(list(pair) for pair in dags)
