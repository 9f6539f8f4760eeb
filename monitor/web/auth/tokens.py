"""The bearer tokens that Windsock issues to programs.

Only this module names the table of tokens. A secret is 256 random bits, so a plain SHA-256 of it is kept. A
slow hash only protects passwords that can be found by trying, and 256 random bits cannot. A token is looked
up by that hash, so no comparison's time shows how much of a guess was right.

A name is a person in one Airflow only, because another Airflow may give the same name to another person. So
a token keeps which deployments' Airflows accepted its creator's name and password. A user whom fewer of them
accept does not own the token.

A token never reads more than its creator could read. The creator's DAGs are stored with the token, and
`narrow` removes those that the creator has lost since. Tokens that a token has made end with it, because the
holder of a leaked token may have made others."""

import hashlib
import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    true,
    update,
)

from monitor.database.schema import tokens as table
from monitor.database.types import read_each
from monitor.errors import WindsockError
from monitor.event_log.filters import AllowedDags
from monitor.rules.field_types import matches, matches_any

PREFIX = "wst_"
"""The beginning of every secret. Scanners for leaked secrets, and the Authenticator, recognize it."""
SECRET_BYTES = 32
SHOWN_SIGNS = len(PREFIX) + 6  # of a secret in lists: 36 of its 256 bits
DEFAULT_LIFE = timedelta(days=90)
LONGEST_LIFE = timedelta(days=365)  # a token that was not renewed within a year is forgotten by its owner
MOST = 100  # tokens of one creator that are in force: more is a program that makes them in a loop
DAY = timedelta(days=1)
MOST_A_DAY = 200  # made by one creator: those that were revoked at once stay in the table, too
KEPT = timedelta(days=365)  # after its end a token stays in the list, which answers what had access
USE_SECONDS = 60  # how exactly the last use is known: a program that asks all day writes once a minute


class Scope(str, Enum):
    """The purpose of a token. Admin may do all that read may."""

    READ = "read"
    INGEST = "ingest"
    ADMIN = "admin"


class TooManyTokens(WindsockError):
    """The creator has as many in force, or has made as many lately, as anybody may."""


class TokenEnded(WindsockError):
    """The error that the token that makes another no longer counts."""


class NoSuchDag(WindsockError):
    """A glob takes no DAG that may be read: it is misspelt."""


@dataclass(frozen=True)
class Owner:
    """An Airflow user, by the exact name that Airflow accepted, and the deployments whose Airflows did.
    Some of Airflow's auth managers take names in any case for the same user, others distinguish them. Two
    names that only look alike must never share their tokens."""

    user: str
    deployments: frozenset[str]

    @property
    def full_name(self) -> str:
        """The name for people, with the deployments in case there are several Airflows."""
        return f"{self.user} ({', '.join(sorted(self.deployments))})"

    @property
    def share(self) -> str:
        """The share of the users who sign in with this name in any case, if Airflow's own id is not known."""
        return share_of(self.user, dict.fromkeys(self.deployments))


def share_of(user: str, subjects: Mapping[str, str | None]) -> str:
    """Return the text by which a user's share of what is bounded is counted, in 69 characters.

    `subjects` has the user by deployment, as Airflow's token names it, or None. Airflow's FAB finds a user by
    the name in any case and by the e-mail address (its 3.3.2 code). If each spelling had a share of its own,
    one user could take everybody's.
    """
    names = [
        (name, "id", subject) if subject else (name, "name", user.casefold())
        for name, subject in sorted(subjects.items())
    ]
    return f"user {hash_of(json.dumps(names))}"


@dataclass(frozen=True)
class Draft:
    """A token to be made."""

    name: str
    scopes: frozenset[Scope]
    dags: AllowedDags
    life: timedelta = DEFAULT_LIFE
    deployments: frozenset[str] | None = None
    """The deployments that an ingest token may report for. None means the first Airflow's deployment."""
    made_by: int | None = None
    """The token that makes it. None if a person does."""


@dataclass(frozen=True)
class Token:
    """A bearer token."""

    id: int
    prefix: str
    name: str
    scopes: frozenset[Scope]
    created_by: str | None
    """The name of the Airflow user. None for a person at the monitor's machine."""
    dags: AllowedDags = field(repr=False)
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    deployments: frozenset[str] | None = None
    """The deployments that an ingest token may report for. None in a token that is older than this field."""
    made_by: int | None = None
    """The token that made it. None if a person did, or if it is older than this field."""
    authenticated_by: frozenset[str] | None = None
    """The deployments whose Airflows accepted the creator. None without a sign-in, or for an old token."""
    share: str | None = None
    """The text by which its creator's share is counted (`share_of`). None without one, or of old tokens."""

    @property
    def owner(self) -> Owner | None:
        """The owner, or None for the monitor's machine or an unknown creator."""
        if self.created_by is None or self.authenticated_by is None:
            return None
        return Owner(self.created_by, self.authenticated_by)

    @property
    def is_unattributed(self) -> bool:
        """True if it is unknown which Airflow's user the creator is."""
        return self.created_by is not None and self.authenticated_by is None

    @classmethod
    def from_row(cls, row: RowMapping) -> "Token":
        """Return the token of a row."""
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
        """Return the deployments that the token may report for. `first` is what an older token means."""
        return frozenset((first,)) if self.deployments is None else self.deployments

    def allows(self, scope: Scope) -> bool:
        """Return True if the token has the scope."""
        return scope in self.scopes or (scope is Scope.READ and Scope.ADMIN in self.scopes)

    def rejection_reason(self, now: datetime) -> str | None:
        """Return why the token no longer counts, or None if it does."""
        if self.revoked_at is not None:
            return f"was revoked on {self.revoked_at:%Y-%m-%d %H:%M} UTC"
        if self.expires_at <= now:
            return f"has expired on {self.expires_at:%Y-%m-%d %H:%M} UTC"
        return None

    def state(self, now: datetime) -> str:
        """Return the token's state: `revoked`, `expired` or `active`."""
        return "revoked" if self.revoked_at else "expired" if self.expires_at <= now else "active"


@dataclass(frozen=True)
class TokenOwnerFilter:
    """The choice of tokens: all, or those of one owner (None: the monitor's machine).
    An owner's tokens have the owner's name, and every Airflow that accepted their creator accepts the owner
    too."""

    all: bool = False
    owner: Owner | None = None

    def clause(self, connection: Connection) -> ColumnElement[bool]:
        """Return the choice as SQL."""
        if self.all:
            return true()
        if self.owner is None:
            return table.c.created_by.is_(None)
        same_name = table.c.created_by == self.owner.user
        found = connection.execute(select(table.c.authenticated_by).where(same_name).distinct()).scalars()
        accepted = [names for names in found if names and names <= self.owner.deployments]
        return and_(same_name, table.c.authenticated_by.in_(accepted))


EVERYONE = TokenOwnerFilter(all=True)


def within(readable_dags: frozenset[tuple[str, str]], globs: Sequence[str]) -> frozenset[tuple[str, str]]:
    """Return the known DAGs that a glob takes. Raises NoSuchDag."""
    for glob in globs:
        if not any(matches(glob, dag_id) for _, dag_id in readable_dags):
            raise NoSuchDag(
                f"dags: {glob[:80]!r} matches no DAG that may be read; write its dag_id, or a glob"
            )
    return frozenset(pair for pair in readable_dags if matches_any(globs, pair[1]))


def add(
    connection: Connection, draft: Draft, owner: Owner | None, now: datetime, share: str | None = None
) -> tuple[Token, str]:
    """Make a token and return it with its secret, which is kept nowhere.
    Raises TooManyTokens, TokenEnded.

    The owner's tokens are counted by `share`, or by the owner's name if it is None."""
    share = (share or owner.share) if owner else None
    if draft.made_by is not None:
        _require_in_force(connection, draft.made_by, now)
    connection.execute(
        delete(table).where(or_(table.c.expires_at < now - KEPT, table.c.revoked_at < now - KEPT))
    )
    conditions = _made_by(owner, share)
    in_force = *conditions, table.c.revoked_at.is_(None), table.c.expires_at > now
    if connection.execute(select(func.count()).where(*in_force)).scalar_one() >= MOST:
        raise TooManyTokens(f"{MOST} tokens are in force already; revoke one that is not used any more")
    lately = *conditions, table.c.created_at > now - DAY
    if connection.execute(select(func.count()).where(*lately)).scalar_one() >= MOST_A_DAY:
        raise TooManyTokens(f"{MOST_A_DAY} tokens were made within a day; use one that is in force, or wait")
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    values = {
        "hash": hash_of(secret),
        "prefix": secret[:SHOWN_SIGNS],
        "name": draft.name,
        "scopes": sorted(draft.scopes),
        "created_by": owner.user if owner else None,
        "authenticated_by": owner.deployments if owner else None,
        "made_by": draft.made_by,
        "share": share,
        "dags": _serialize_dags(draft.dags),
        "deployments": None if draft.deployments is None else sorted(draft.deployments),
        "created_at": now,
        "expires_at": now + draft.life,
    }
    row = connection.execute(insert(table).values(values).returning(*table.c)).mappings().one()
    return Token.from_row(row), secret


def _made_by(owner: Owner | None, share: str | None) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of the tokens that are counted together.
    The same name in another Airflow takes no room away."""
    if owner is None:
        return (table.c.created_by.is_(None),)
    exactly = table.c.created_by == owner.user, table.c.authenticated_by == owner.deployments
    return (or_(table.c.share == share, and_(table.c.share.is_(None), *exactly)),)


def _require_in_force(connection: Connection, token_id: int, now: datetime) -> None:
    """Read the token again and lock it, because another replica may be revoking it at this moment."""
    query = select(table).where(table.c.id == token_id).with_for_update()
    row = connection.execute(query).mappings().one_or_none()
    token = _from_row(row)
    if token is None or (ended := token.rejection_reason(now)):
        raise TokenEnded(f"the token {ended if token else 'is known no more'}; it makes no others")


def _from_row(row: RowMapping | None) -> Token | None:
    """Return the token of a row, or None for an unreadable row, which is no token that anybody may use."""
    return next(read_each("tokens", [row] if row else [], Token.from_row), None)


def hash_of(secret: str) -> str:
    """Return the hash under which a secret is stored."""
    return hashlib.sha256(secret.encode()).hexdigest()


def find_by_hash(connection: Connection, digest: str) -> Token | None:
    """Return the token of this secret's hash, in force or not."""
    row = connection.execute(select(table).where(table.c.hash == digest)).mappings().one_or_none()
    return _from_row(row)


def record_use(connection: Connection, token_id: int, now: datetime) -> None:
    """Record a use. Replicas that do so at once write once."""
    before = now - timedelta(seconds=USE_SECONDS)
    stale = or_(table.c.last_used_at.is_(None), table.c.last_used_at <= before)
    connection.execute(update(table).where(table.c.id == token_id, stale).values(last_used_at=now))


def page(
    connection: Connection, whose: TokenOwnerFilter, limit: int, before: int | None = None
) -> list[Token]:
    """Return a page of tokens, newest first. `before` is the last id of the page before."""
    query = select(table).where(whose.clause(connection))
    if before is not None:
        query = query.where(table.c.id < before)
    rows = connection.execute(query.order_by(table.c.id.desc()).limit(limit)).mappings()
    return list(read_each("tokens", rows, Token.from_row))


def revoke(connection: Connection, whose: TokenOwnerFilter, token_id: int, now: datetime) -> Token | None:
    """End a token and those that it has made, unless it has ended. None: the owner has no such token."""
    conditions = table.c.id == token_id, whose.clause(connection)
    ended = _end(connection, *conditions, now=now)
    while ended:  # each one is locked before those that it made are read: none can be made meanwhile
        ended = _end(connection, table.c.made_by.in_(ended), now=now)
    row = connection.execute(select(table).where(*conditions)).mappings().one_or_none()
    return _from_row(row)


def _end(connection: Connection, *which: ColumnElement[bool], now: datetime) -> list[int]:
    in_force = *which, table.c.revoked_at.is_(None)
    ended = connection.execute(update(table).where(*in_force).values(revoked_at=now).returning(table.c.id))
    return list(ended.scalars())


def accepted_by(connection: Connection, user: str, now: datetime) -> set[frozenset[str]]:
    """Return the deployments of each owner of this name with tokens in force, without unknown Airflows."""
    query = select(table.c.authenticated_by).where(*_in_force(user, now)).distinct()
    return {names for names in connection.execute(query).scalars() if names is not None}


def revoke_all(connection: Connection, user: str, accepted: Collection[frozenset[str]], now: datetime) -> int:
    """End a name's tokens of these deployments or of unknown Airflows, and return how many."""
    of = or_(table.c.authenticated_by.in_(accepted), table.c.authenticated_by.is_(None))
    return connection.execute(update(table).where(*_in_force(user, now), of).values(revoked_at=now)).rowcount


def _in_force(user: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return table.c.created_by == user, table.c.revoked_at.is_(None), table.c.expires_at > now


def other_spellings(connection: Connection, user: str) -> list[str]:
    """Return owners of tokens in force whose names differ from this one in case alone."""
    query = select(table.c.created_by).where(table.c.revoked_at.is_(None)).distinct()
    names = connection.execute(query).scalars()
    return sorted(name for name in names if name and name != user and name.casefold() == user.casefold())


def narrow(
    connection: Connection,
    user: str,
    dags: Mapping[str, frozenset[str]],
    whole: frozenset[str],
    every_dag: frozenset[tuple[str, str]],
) -> list[int]:
    """Take from a name's tokens what the Airflows no longer show that user.
    Return the ids of those that lost some.

    An Airflow decides about its own DAGs, in tokens whose creator it has accepted, and about nothing else.
    `dags` is what each deployment's Airflow shows the user. `whole` are those of them that show every DAG.
    `every_dag` is what a token for every DAG keeps of the other Airflows."""
    query = select(table).where(table.c.created_by == user, table.c.revoked_at.is_(None))
    lost = []
    for token in read_each("tokens", connection.execute(query).mappings().all(), Token.from_row):
        accepted = token.authenticated_by or frozenset()
        decided = (accepted & dags.keys()) - whole
        if not decided:
            continue
        held = token.dags
        if held is None:
            listed = frozenset((name, dag) for name in accepted & dags.keys() for dag in dags[name])
            held = listed | {pair for pair in every_dag if pair[0] in accepted}
        left = frozenset(pair for pair in held if pair[0] not in decided or pair[1] in dags[pair[0]])
        if left != token.dags:
            connection.execute(update(table).where(table.c.id == token.id).values(dags=_serialize_dags(left)))
            lost.append(token.id)
    return lost


def adopt(connection: Connection, deployments: frozenset[str]) -> int:
    """Attribute old tokens if there is one Airflow. Return how many stay unknown: they no longer count."""
    unknown = table.c.created_by.is_not(None), table.c.authenticated_by.is_(None)
    if len(deployments) == 1:
        connection.execute(update(table).where(*unknown).values(authenticated_by=deployments))
    return unattributed(connection)


def unattributed_words(number: int) -> str:
    """Return the warning about tokens of unknown Airflows."""
    return (
        f"{number} tokens for every DAG count no more: they were made before it was kept which Airflows know "
        "their creators, and several are configured now"
    )


def unattributed(connection: Connection) -> int:
    """Return how many tokens are not revoked and of an unknown Airflow's user."""
    unknown = table.c.created_by.is_not(None), table.c.authenticated_by.is_(None)
    query = select(func.count()).where(*unknown, table.c.revoked_at.is_(None))
    return connection.execute(query).scalar_one()


def _serialize_dags(dags: AllowedDags) -> Sequence[Sequence[str]] | None:
    return None if dags is None else sorted(list(pair) for pair in dags)
