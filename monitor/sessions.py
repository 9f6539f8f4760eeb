"""Who is signed in, in every monitor on the same database. Only this module names their table.

The Airflow tokens of a session stand in no database and in no backup in a form that either gives away: of the
random id that the cookie holds only a hash is kept, and what belongs to it is sealed (AES-256-GCM) with a key
that takes two things, neither of which is in the database: that id and the session secret (HKDF, RFC 5869).
"""

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, true

from monitor.database.schema import sessions as table
from monitor.tokens import Owner, hash_of

SESSION_SECONDS = 12 * 3600  # a working day; Airflow's own token lives 24 hours
MAX_SESSIONS = 10_000  # the oldest gives way: the table stays bounded whoever signs in
MAX_OF_ONE_USER = 50  # browsers and devices; beyond that the user's own oldest gives way, and nobody else's
KEY_BYTES = 32
NONCE_BYTES = 12  # AES-GCM's own (NIST SP 800-38D); each key seals once, so none comes twice
PURPOSE = b"windsock-session-1"


@dataclass(frozen=True)
class Session:
    id: str = field(repr=False)
    user: str
    tokens: Mapping[str, str] = field(repr=False)
    """The user's Airflow tokens, by deployment."""
    csrf: str = field(repr=False)
    expires: datetime

    @property
    def owner(self) -> Owner:
        """The user of these Airflows."""
        return Owner(self.user, frozenset(self.tokens))


def begin(
    connection: Connection, user: str, tokens: Mapping[str, str], secret: str, now: datetime
) -> Session:
    """Sign a user in. What has expired is forgotten, and the oldest where there are too many: first of the
    user's own."""
    forget(connection, now)
    expires = now + timedelta(seconds=SESSION_SECONDS)
    session = Session(secrets.token_urlsafe(), user, tokens, secrets.token_urlsafe(), expires)
    hashed = hash_of(session.id)
    owner = {"owner": user, "authenticated_by": session.owner.deployments}
    row = {"hash": hashed, "sealed": _sealed(session, secret), "expires_at": expires, **owner}
    connection.execute(insert(table).values(row))
    # Of exactly these Airflows: the same name in another one may be another person.
    own = and_(*(table.c[name] == value for name, value in owner.items()))
    _bound(connection, own, MAX_OF_ONE_USER)
    _bound(connection, true(), MAX_SESSIONS)
    return session


def find(connection: Connection, session_id: str, keys: Sequence[str], now: datetime) -> Session | None:
    """The session of an id, unless it has ended, has expired, or was sealed with none of these secrets."""
    row = connection.execute(select(table).where(table.c.hash == hash_of(session_id))).one_or_none()
    if row is None or row.expires_at <= now:
        return None
    for secret in keys:
        if (opened := _opened(row.sealed, session_id, secret, row.expires_at)) is not None:
            return Session(session_id, opened["user"], opened["tokens"], opened["csrf"], row.expires_at)
    return None


def end(connection: Connection, session_id: str) -> None:
    connection.execute(delete(table).where(table.c.hash == hash_of(session_id)))


def end_all(connection: Connection, user: str | None = None) -> int:
    """End every session, or those of one name, in whichever Airflows; answers how many."""
    whose = () if user is None else (table.c.owner == user,)
    return connection.execute(delete(table).where(*whose)).rowcount


def forget(connection: Connection, now: datetime) -> int:
    """Those that have expired; answers how many. There are never more than MAX_SESSIONS."""
    return connection.execute(delete(table).where(table.c.expires_at <= now)).rowcount


def _bound(connection: Connection, whose: ColumnElement[bool], most: int) -> None:
    number = select(func.count()).select_from(table).where(whose)
    surplus = connection.execute(number).scalar_one() - most
    if surplus > 0:
        oldest = select(table.c.hash).where(whose).order_by(table.c.expires_at).limit(surplus)
        connection.execute(delete(table).where(table.c.hash.in_(oldest.scalar_subquery())))


def _sealed(session: Session, secret: str) -> bytes:
    content = {"user": session.user, "tokens": dict(session.tokens), "csrf": session.csrf}
    nonce = os.urandom(NONCE_BYTES)
    vouched = _vouched(session.id, session.expires)
    return nonce + _cipher(session.id, secret).encrypt(nonce, json.dumps(content).encode(), vouched)


def _opened(sealed: bytes, session_id: str, secret: str, expires: datetime) -> dict[str, Any] | None:
    """None where it was sealed with another secret, or changed since."""
    nonce, rest = bytes(sealed[:NONCE_BYTES]), bytes(sealed[NONCE_BYTES:])
    try:
        content = _cipher(session_id, secret).decrypt(nonce, rest, _vouched(session_id, expires))
    except InvalidTag:
        return None
    opened: dict[str, Any] = json.loads(content)
    return opened


def _vouched(session_id: str, expires: datetime) -> bytes:
    """What the seal vouches for besides: a row is no other's, and its end is not put off."""
    return f"{hash_of(session_id)} {expires.isoformat()}".encode()


def _cipher(session_id: str, secret: str) -> AESGCM:
    derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=secret.encode(), info=PURPOSE)
    return AESGCM(derived.derive(session_id.encode()))
